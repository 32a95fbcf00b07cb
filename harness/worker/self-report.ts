/** The worker looks at itself, synchronously, at the moment at which a limit passes. Loaded only then. */
import { redactLocal } from '../../src/dump/redact.ts'
import type { AsyncFacts } from '../../src/inspect/facts.ts'
import { dumpSuspendedHere } from '../../src/inspect/suspended.ts'
import type { FakeTimerFact, SelfReport } from '../protocol.ts'
import { isUserScript } from '../user-code.ts'
import { now } from './globals.ts'
import { isOwnerScript, OWNER_FUNCTION } from './owner.ts'

/** Heap ids of suspended functions in earlier dumps of this worker: what an earlier test left behind. */
const known = new Set<number>()

export interface SelfReportOptions {
  owner: string | null
  fakeTimers: FakeTimerFact | null
  /** Sources of regular expressions: names of locals that are never printed, beside the built-in list. */
  redact: string[]
}

/** Above this much heap no snapshot is taken: it would take tens of seconds (DESIGN.md, "Cost of a snapshot"). */
const MAX_HEAP_BYTES = 400 * 1024 * 1024

export function selfReport(options: SelfReportOptions): SelfReport {
  const began = now()
  const notes: string[] = []
  const extra = options.redact.map((source) => new RegExp(source, 'i'))
  const heap = process.memoryUsage().heapUsed
  let async: AsyncFacts | null = null
  if (heap > MAX_HEAP_BYTES) {
    const mb = Math.round(heap / 1024 / 1024)
    notes.push(`no heap snapshot: ${mb} MB of heap in use, the limit is ${MAX_HEAP_BYTES / 1024 / 1024} MB`)
  } else {
    try {
      async = dumpSuspendedHere({
        isUser: isUserScript,
        ownerRule: { fn: OWNER_FUNCTION, script: isOwnerScript },
        preferOwner: options.owner ?? undefined,
        known,
        redact: (name, value) => redactLocal(name, value, extra),
      })
      for (const f of async.suspended) known.add(f.id)
    } catch (error) {
      notes.push(`no heap snapshot: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return {
    async,
    owner: options.owner,
    fakeTimers: options.fakeTimers,
    resources: activeResources(),
    notes,
    tookMs: now() - began,
  }
}

function activeResources(): Record<string, number> | null {
  try {
    const counts: Record<string, number> = {}
    for (const type of process.getActiveResourcesInfo()) counts[type] = (counts[type] ?? 0) + 1
    return counts
  } catch {
    return null
  }
}
