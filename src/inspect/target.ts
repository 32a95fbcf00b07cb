/**
 * What one JavaScript thread at the other end of an inspector connection does: its stack when it is busy, its suspended
 * functions when it is idle. Serves worker threads and other processes alike; the thread runs on afterwards.
 */
import { type InspectorClient, within } from './client.ts'
import { driveAsync } from './drive.ts'
import type { AsyncFacts, SyncStack } from './facts.ts'
import { takeSnapshotOver } from './heap/take.ts'
import { type InspectOptions, inspectSuspended } from './suspended.ts'
import { captureSyncStack } from './sync-stack.ts'

// Kept at import: a test may replace the clock of the thread that looks.
const now = performance.now.bind(performance)

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
  const began = now()
  const left = (): number => Math.max(LEAST_MS, budgetMs - (now() - began))
  const facts: TargetFacts = { state: 'native', sync: null, async: null, notes: [], tookMs: 0 }
  const bounded: InspectorClient = {
    ...client,
    post: (method, params, timeoutMs = CALL_MS) => client.post(method, params, Math.min(timeoutMs, left())),
  }
  try {
    if (await turns(client, Math.min(TURN_MS, left()))) {
      facts.state = 'idle'
      facts.async = await within(
        suspendedOver(bounded, left, { ...(isUser && { isUser }), ...(redact && { redact }) }),
        left(),
        `its heap was not read within ${budgetMs} ms`,
      )
      facts.notes.push(...facts.async.notes.splice(0))
    } else {
      const seen = await captureSyncStack(bounded, { pauseMs: Math.min(PAUSE_MS, left()), ...(isUser && { isUser }) })
      if (seen) {
        facts.state = 'blocked'
        facts.sync = seen.stack
      }
    }
  } catch (error) {
    facts.notes.push(error instanceof Error ? error.message : String(error))
  }
  if (facts.state === 'native') facts.notes.push(NATIVE)
  facts.tookMs = now() - began
  return facts
}

/** Does the event loop turn? A thread in a loop answers calls of the inspector, but never comes to a callback. */
async function turns(client: InspectorClient, ms: number): Promise<boolean> {
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

async function suspendedOver(
  client: InspectorClient,
  left: () => number,
  options: InspectOptions,
): Promise<AsyncFacts> {
  const usage = (await client.post('Runtime.getHeapUsage', {}, left())) as { usedSize?: number }
  const mb = (usage.usedSize ?? 0) / 1024 / 1024
  const enough = left()
  if (mb * MS_PER_MB > enough) {
    const note = `its heap of ${Math.round(mb)} MB was not read: there are ${Math.round(enough)} ms for it`
    return { suspended: [], nodes: 0, tookMs: 0, notes: [note] }
  }
  const heap = await takeSnapshotOver(client, enough)
  // Time for an answer that is under way, so that what was found is not lost to the bound around this.
  const rest = Math.max(LEAST_MS, left() - 200)
  return driveAsync(inspectSuspended(heap, { ...options, budgetMs: rest }), client.post, rest)
}
