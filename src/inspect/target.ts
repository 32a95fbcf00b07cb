/**
 * What one JavaScript thread at the other end of an inspector connection does: its stack when it is busy, its suspended
 * functions when it is idle. Serves worker threads and other processes alike; the thread runs on afterwards.
 */

import { monotonic } from '../process/clean.ts'
import { asyncStacks } from './async-stacks.ts'
import type { InspectorClient } from './client.ts'
import { driveAsync } from './drive.ts'
import type { AsyncFacts, SyncStack } from './facts.ts'
import { takeSnapshotOver } from './heap/take.ts'
import { factsFromStacks } from './stack-facts.ts'
import { type InspectOptions, inspectSuspended } from './suspended.ts'
import { captureSyncStack } from './sync-stack.ts'

/** Options of {@link inspectTarget}. */
export interface TargetOptions {
  /** Time for all of it, milliseconds; 3000 by default. What does not fit is left out, and a note says so. */
  budgetMs?: number
  /** Which scripts are the user's, see {@link InspectOptions}. */
  isUser?: (url: string) => boolean
  /** Gets name and rendered value of each local; what it returns is kept. */
  redact?: InspectOptions['redact']
}

/** What was seen of one thread. */
export interface TargetFacts {
  /**
   * `blocked`: JavaScript keeps it from turning its event loop; `idle`: the loop turns; `native`: it answered neither, so
   * it sits in a system call or in native code.
   */
  state: 'blocked' | 'idle' | 'native'
  sync: SyncStack | null
  async: AsyncFacts | null
  /** What was left out and why, one sentence each. */
  notes: string[]
  tookMs: number
}

/** A loop that does not turn within this time is looked at as a busy one. */
const TURN_MS = 250
const PAUSE_MS = 400
/** Taking, sending and reading a snapshot, per MB of live heap (DESIGN.md, section 4). */
const MS_PER_MB = 70
const LEAST_MS = 100
const CALL_MS = 1000
const NATIVE =
  'it neither turned its event loop nor stopped at a line of JavaScript: a system call or native code has it'

// The thread's own code may have replaced the global, and a fake clock marks what it fakes.
const TURN = `new Promise((resolve) => {
  const node = (name) => globalThis.process.getBuiltinModule(name);
  const { setImmediate } = node('node:timers');
  if (!('clock' in setImmediate)) return setImmediate(() => resolve(true));
  const { port1, port2 } = new (node('node:worker_threads').MessageChannel)();
  port1.on('message', () => { port1.close(); resolve(true) });
  port2.postMessage(0);
})`

/**
 * Looks at the thread at the other end of a connection. Never rejects: what could not be had is in the notes. The
 * connection stays open; the debugger is off afterwards.
 */
export async function inspectTarget(client: InspectorClient, options: TargetOptions = {}): Promise<TargetFacts> {
  const { budgetMs = 3000, isUser, redact } = options
  const began = monotonic()
  const left = (): number => Math.max(LEAST_MS, budgetMs - (monotonic() - began))
  const facts: TargetFacts = { state: 'native', sync: null, async: null, notes: [], tookMs: 0 }
  const bounded = (mostMs: number): InspectorClient => ({
    ...client,
    post: (method, params, timeoutMs = mostMs) => client.post(method, params, Math.min(timeoutMs, left())),
  })
  try {
    if (await turns(client, Math.min(TURN_MS, left()))) {
      facts.state = 'idle'
      facts.async = await suspendedOver(bounded(budgetMs), left, {
        ...(isUser && { isUser }),
        ...(redact && { redact }),
      })
      facts.notes.push(...facts.async.notes.splice(0))
    } else {
      const seen = await captureSyncStack(bounded(CALL_MS), {
        pauseMs: Math.min(PAUSE_MS, left()),
        ...(isUser && { isUser }),
      })
      if (seen) {
        facts.state = 'blocked'
        facts.sync = seen.stack
      }
    }
  } catch (error) {
    facts.notes.push(error instanceof Error ? error.message : String(error))
  }
  if (facts.state === 'native') facts.notes.push(NATIVE)
  facts.tookMs = monotonic() - began
  return facts
}

/** Does the event loop turn? A thread in a loop answers calls of the inspector, but never comes to a callback. */
export async function turns(client: InspectorClient, ms: number): Promise<boolean> {
  try {
    await client.post(
      'Runtime.evaluate',
      { expression: TURN, awaitPromise: true, returnByValue: true, silent: true },
      ms,
    )
    return true
  } catch {
    return false
  }
}

/** First the positions, which cost little, then the heap, which tells who holds what is awaited, when there is time. */
async function suspendedOver(
  client: InspectorClient,
  left: () => number,
  options: InspectOptions,
): Promise<AsyncFacts> {
  let facts: AsyncFacts | undefined
  let late = 'its heap was not read: there was no time for it'
  try {
    const { isUser } = options
    const stacks = await driveAsync(asyncStacks({ budgetMs: left() / 2 }), client.post, left())
    facts = factsFromStacks(stacks, isUser && { isUser })
    const usage = (await client.post('Runtime.getHeapUsage')) as { usedSize?: number }
    const mb = (usage.usedSize ?? 0) / 1024 / 1024
    late = `its heap of ${Math.round(mb)} MB was not read, so who holds what is awaited is not known: there were ${Math.round(left())} ms for it`
    if (mb * MS_PER_MB < left()) return withPlaces(await readHeap(client, left, options), facts)
  } catch (error) {
    if (facts === undefined) throw error
    late = `its heap was not read: ${error instanceof Error ? error.message : String(error)}`
  }
  facts.notes.push(late)
  return facts
}

async function readHeap(client: InspectorClient, left: () => number, options: InspectOptions): Promise<AsyncFacts> {
  const heap = await takeSnapshotOver(client, left() - LEAST_MS)
  return driveAsync(inspectSuspended(heap, { ...options, budgetMs: left() / 2 }), client.post, left())
}

/** What the time did not suffice for the second time is taken from the first. */
function withPlaces(facts: AsyncFacts, before: AsyncFacts): AsyncFacts {
  for (const one of facts.suspended) {
    if (one.at !== null) continue
    const same = before.suspended.filter(({ fn, script }) => fn === one.fn && script === one.script)
    if (same.length === 1) one.at = same[0]!.at
  }
  return facts
}
