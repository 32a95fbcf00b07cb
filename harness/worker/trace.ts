/**
 * Trace mode of a worker: one test, hook or file runs alone with its promises traced. As soon as what runs can be shown
 * to wait for a promise that was collected while pending, the main process is told and the worker is no longer needed.
 */
import { type CallCounts, startCallCounts } from '../../src/inspect/call-counts.ts'
import type { LockFacts } from '../../src/inspect/lock-trace.ts'
import { type PromiseTrace, startPromiseTrace } from '../../src/inspect/promise-trace.ts'
import { type StreamLog, startStreamLog } from '../../src/inspect/stream-log.ts'
import type { FromWorker, HandleOpinion, TraceOrder } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import { isUserScript } from '../user-code.ts'
import { clearTimeout, now, setTimeout } from './globals.ts'
import { selfReport } from './self-report.ts'

/** First look after the body has begun, and the pause between looks; a look takes some garbage collections. */
const LOOK_MS = 150
/** A heap snapshot is the dearer proof: not more often than this. */
const SNAPSHOT_MS = 1000

/** On a busy machine the time may be over before what runs has come to where it hangs. */
const FEWEST_LOOKS = 6

export interface Trace {
  /** A test, hook or collection begins. */
  watch(owner: string, promise: Promise<unknown>): void
  stop(): void
}

/**
 * @param order what to look at, and for how long
 * @param opinion what another tool knows of the open handles
 */
export function startTrace(
  send: (message: FromWorker) => void,
  order: TraceOrder,
  opinion?: () => HandleOpinion[],
): Trace {
  const counts = countCalls()
  const streams = watchStreams()
  const trace = startPromiseTrace({ isUser: isUserScript })
  let timer: NodeJS.Timeout | undefined
  let lastSnapshot = 0
  let told = false
  let looks = 0
  let until = 0

  async function look(owner: string): Promise<void> {
    streams?.look()
    await trace.settle(500)
    const lost = trace.check()
    if (told) return
    const found = lost.length > 0 && (trace.bodyLost() || trace.allLost() || absent(owner, trace))
    looks++
    if (!found && (now() < until || looks < FEWEST_LOOKS)) return
    told = true
    trace.stop()
    send({
      [MARK]: 'lost',
      lost: found ? lost : trace.results(),
      body: found,
      locks: readLocks(trace, counts),
      streams: streams?.notes() ?? [],
      opinions: readOpinions(opinion),
    })
  }

  /**
   * vitest stands between its own promise and that of the test function, so the trace alone cannot always connect the
   * two. While something else of the user's waits, the heap decides: no suspended function of the user's belongs to what runs.
   */
  function absent(owner: string, running: PromiseTrace): boolean {
    if (now() - lastSnapshot < SNAPSHOT_MS) return false
    lastSnapshot = now()
    if (running.waiting().length > 0) return false
    const { async } = selfReport({ owner, fakeTimers: null, redact: [] })
    // Without a snapshot not every function is found, and absence says nothing.
    return async !== null && async.nodes > 0 && !async.suspended.some((f) => f.user && f.owner === owner)
  }

  function again(owner: string, pending: () => boolean): void {
    clearTimeout(timer)
    timer = setTimeout(() => {
      if (!pending() || told) return
      look(owner).then(
        () => again(owner, pending),
        () => again(owner, pending),
      )
    }, LOOK_MS)
  }

  return {
    watch(owner, promise) {
      // A slow import or hook before it, or a concurrent test beside it, is not what hung.
      if (order.owner !== null && owner !== order.owner) return
      let pending = true
      until = now() + order.ms
      looks = 0
      const ended = (): void => {
        pending = false
      }
      promise.then(ended, ended)
      trace.watchBody(promise)
      again(owner, () => pending)
    },
    stop: () => trace.stop(),
  }
}

/** Whether it can count or not, the trace goes on. */
function countCalls(): CallCounts | undefined {
  try {
    return startCallCounts(isUserScript)
  } catch {
    return undefined
  }
}

function watchStreams(): StreamLog | undefined {
  try {
    return startStreamLog()
  } catch {
    return undefined
  }
}

function readOpinions(opinion: (() => HandleOpinion[]) | undefined): HandleOpinion[] {
  try {
    return opinion?.() ?? []
  } catch {
    return []
  }
}

function readLocks(trace: PromiseTrace, counts: CallCounts | undefined): LockFacts | null {
  try {
    return counts === undefined ? null : trace.locks(counts)
  } catch {
    // What the locks say is an addition: a loss is told without it.
    return null
  }
}
