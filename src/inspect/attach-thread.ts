import { Session } from 'node:inspector'
import { ProbeError } from '../errors.ts'
import { createWire, type InspectorClient, type Wire, within } from './client.ts'

const START_MS = 500
const CLOSE_MS = 1000

/** What the `NodeWorker` domain tells of one thread. */
interface Thread {
  sessionId: string
  /** Set while somebody is attached. */
  wire?: Wire
}

/** One session of this thread serves every attached worker: a second `NodeWorker.enable` would tell all of them anew. */
interface Hub {
  session: Session
  threads: Map<number, Thread>
  /** Called with the id of a thread that appeared. */
  waiting: Set<(threadId: number) => void>
  users: number
}

let hub: Hub | undefined

/**
 * Connects to the inspector of a worker thread of this process. To be called from the main thread. `close()` must be
 * awaited before the worker is terminated: a paused thread whose session goes away takes the main thread with it.
 * @param threadId `worker.threadId`
 * @throws {ProbeError} when there is no such worker, or when it is attached already
 */
export async function attachThread(threadId: number): Promise<InspectorClient> {
  const shared = join()
  let thread: Thread
  try {
    thread = shared.threads.get(threadId) ?? (await appearance(shared, threadId))
    if (thread.wire !== undefined) throw new ProbeError(`worker thread ${threadId} is being inspected already`)
  } catch (error) {
    leave(shared)
    throw error
  }
  const { sessionId } = thread
  const wire = createWire((message) => {
    shared.session.post('NodeWorker.sendMessageToWorker', { sessionId, message }, (error) => {
      if (error) wire.end(`the worker thread cannot be reached (${error.message})`)
    })
  })
  thread.wire = wire

  async function disconnect(): Promise<void> {
    // Sent together and not one after the other: a thread in a system call answers neither now, but takes both, in this
    // order, when it comes back. Without `disable` it would then pause for a session that is gone, and `terminate()`
    // would block this thread for good.
    wire.post('Debugger.resume', {}, CLOSE_MS).catch(() => {})
    await wire.post('Debugger.disable', {}, CLOSE_MS).catch(() => {})
    wire.end('the connection was closed')
    thread.wire = undefined
    leave(shared)
  }

  let closing: Promise<void> | undefined
  return {
    post: wire.post,
    on: wire.on,
    close() {
      closing ??= disconnect()
      return closing
    },
  }
}

function join(): Hub {
  hub ??= openHub()
  hub.users += 1
  return hub
}

function leave(left: Hub): void {
  left.users -= 1
  if (left.users > 0) return
  left.session.disconnect()
  if (hub === left) hub = undefined
}

function openHub(): Hub {
  const session = new Session()
  const opened: Hub = { session, threads: new Map(), waiting: new Set(), users: 0 }
  const sessions = new Map<string, Thread>()
  session.connect()
  session.on('NodeWorker.attachedToWorker', ({ params }) => {
    const threadId = threadOf(params.workerInfo.title)
    if (threadId === undefined) return
    const thread: Thread = { sessionId: params.sessionId }
    sessions.set(thread.sessionId, thread)
    opened.threads.set(threadId, thread)
    for (const tell of [...opened.waiting]) tell(threadId)
  })
  session.on('NodeWorker.detachedFromWorker', ({ params }) => {
    sessions.get(params.sessionId)?.wire?.end('the worker thread ended')
    sessions.delete(params.sessionId)
    for (const [id, thread] of opened.threads) if (thread.sessionId === params.sessionId) opened.threads.delete(id)
  })
  session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => {
    sessions.get(params.sessionId)?.wire?.receive(params.message)
  })
  // Existing workers are announced before this call returns.
  session.post('NodeWorker.enable', { waitForDebuggerOnStart: false })
  return opened
}

/**
 * `workerInfo.workerId` only counts the sessions of one agent. The thread id stands at the start of the title,
 * `[worker 5] name` (Node 22, 24, 26: `Worker::Worker` in src/node_worker.cc).
 */
function threadOf(title: string): number | undefined {
  const id = /^\[worker (\d+)\]/.exec(title)?.[1]
  return id === undefined ? undefined : Number(id)
}

async function appearance(shared: Hub, threadId: number): Promise<Thread> {
  let tell: (id: number) => void = () => {}
  const found = new Promise<void>((resolve) => {
    tell = (id) => {
      if (id === threadId) resolve()
    }
  })
  shared.waiting.add(tell)
  try {
    await within(found, START_MS, `there is no worker thread ${threadId} in this process`)
  } finally {
    shared.waiting.delete(tell)
  }
  const thread = shared.threads.get(threadId)
  if (thread === undefined) throw new ProbeError(`worker thread ${threadId} has just ended`)
  return thread
}
