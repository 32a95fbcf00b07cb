/** The worker looks at itself, synchronously, at the moment at which a limit passes. Loaded only then. */
import type { ChildProcess } from 'node:child_process'
import { redactLocal } from '../../src/dump/redact.ts'
import type { AsyncFacts, LiveHandle } from '../../src/inspect/facts.ts'
import { beginLook, lookAtHeld } from '../../src/inspect/held-objects.ts'
import { dumpSuspendedHere } from '../../src/inspect/look-at-heap.ts'
import type { FetchSite, SentSignal, WaitFacts } from '../../src/inspect/wait-facts.ts'
import type { FakeTimerFact, SelfReport } from '../protocol.ts'
import { isUserScript } from '../user-code.ts'
import { now } from './globals.ts'
import { isOwnerScript, isRunnerScript, OWNER_FUNCTION } from './owner.ts'

/** Heap ids of suspended functions in earlier dumps of this worker: what an earlier test left behind. */
const known = new Set<number>()

export interface SelfReportOptions {
  owner: string | null
  fakeTimers: FakeTimerFact | null
  /** Sources of regular expressions: names of locals that are never printed, beside the built-in list. */
  redact: string[]
  /** See `HeapLimits`; without it the default. */
  snapshotMb?: number | null
  /** Handles that are open, with the places where they were made; absent when they are not recorded. */
  handles?: () => LiveHandle[]
  /** Which of these an object is. */
  handleOf?: (object: object) => number | undefined
  /** Children that may have ended. */
  children?: () => ChildProcess[]
  /** Signals that the worker's code has sent. */
  signals?: () => SentSignal[]
  /** Calls of `fetch`, whose sockets undici makes later. */
  fetches?: () => FetchSite[]
}

export function selfReport(options: SelfReportOptions): SelfReport {
  const began = now()
  const notes: string[] = []
  const extra = options.redact.map((source) => new RegExp(source, 'i'))
  let async: AsyncFacts | null = null
  let wait: WaitFacts | null = null
  const begun = attempt(beginLook, notes, 'no look at the children')
  try {
    const { snapshotMb } = options
    const inspection = {
      ...(typeof snapshotMb === 'number' && { limits: { snapshotMb, surelyMb: snapshotMb } }),
      isUser: isUserScript,
      ownerRule: { fn: OWNER_FUNCTION, script: isOwnerScript, runner: isRunnerScript },
      preferOwner: options.owner ?? undefined,
      known,
      redact: (name: string, value: string) => redactLocal(name, value, extra),
    }
    async = dumpSuspendedHere(inspection, (found, post) => {
      const ids = heldIds(found, options.owner)
      wait = attempt(
        () => lookAtHeld(post, ids, begun ?? undefined, options.children?.(), options.handleOf),
        notes,
        'no look at what is waited for',
      )
    })
    // Without a snapshot the ids are places in a list.
    if (async.nodes > 0) for (const f of async.suspended) known.add(f.id)
  } catch (error) {
    notes.push(`no look at the heap: ${error instanceof Error ? error.message : String(error)}`)
  }
  return {
    async,
    wait,
    owner: options.owner,
    fakeTimers: options.fakeTimers,
    resources: activeResources(),
    handles: options.handles ? attempt(options.handles, notes, 'no list of handles') : null,
    signals: attempt(() => options.signals?.() ?? [], notes, 'no list of signals') ?? [],
    fetches: attempt(() => options.fetches?.() ?? [], notes, 'no list of requests') ?? [],
    notes,
    tookMs: now() - began,
  }
}

/** An addition must not cost the rest of the report. */
function attempt<T>(look: () => T, notes: string[], what: string): T | null {
  try {
    return look()
  } catch (error) {
    notes.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)
    return null
  }
}

/** The owners of what the hung section waits for; finding each of them takes a walk over the heap. */
function heldIds({ suspended }: AsyncFacts, owner: string | null): number[] {
  const held = suspended
    .filter((one) => one.owner === owner)
    .flatMap((one) => one.heldBy)
    .filter((one) => one.owner !== 'TaskDeadline')
  const timers = held.filter((one) => one.owner === 'Timeout')
  const others = held.filter((one) => one.owner !== 'Timeout')
  return [...others, ...timers].flatMap(({ id, behind }) => [behind?.id ?? [], id ?? []].flat())
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
