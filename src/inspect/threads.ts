/**
 * The worker threads of a process over a connection to its main thread: any process that can be attached to, or this very
 * one. Threads that a thread has started belong to the main thread's list as well; a connection to a worker has none.
 */
import { Session } from 'node:inspector'
import { ProbeError } from '../errors.ts'
import { createWire, type InspectorClient, type Wire, within } from './client.ts'
import { inspectTarget, type TargetFacts, type TargetOptions } from './target.ts'

/** A worker thread with a connection to it. */
export interface WorkerThread {
  /** As in `worker.threadId`. */
  threadId: number
  /** The `name` option of the worker; '' when it has none. */
  name: string
  /** Script that it runs, as V8 knows it. */
  url: string
  client: InspectorClient
}

/** One worker thread as it was seen. */
export interface ThreadFacts extends TargetFacts, Pick<WorkerThread, 'threadId' | 'name' | 'url'> {}

/** Options of {@link inspectThreads}. */
export interface ThreadsOptions extends TargetOptions {
  /** Threads that are looked at; all by default. */
  only?: (thread: Pick<WorkerThread, 'threadId' | 'name' | 'url'>) => boolean
  /** Of more threads than this only the first are looked at, 8 by default; the others get a line. */
  most?: number
}

const CLOSE_MS = 500
const ENABLE_MS = 500

/**
 * Looks at the worker threads of the process at the other end of a connection, all at the same time. Never rejects.
 *
 * @param client connection to the main thread, whose event loop need not turn; it stays open
 */
export async function inspectThreads(
  client: InspectorClient,
  options: ThreadsOptions = {},
): Promise<{ threads: ThreadFacts[]; notes: string[] }> {
  const { only = () => true, most = 8, ...target } = options
  let attached: Awaited<ReturnType<typeof attachThreads>>
  try {
    attached = await attachThreads(client)
  } catch (error) {
    return { threads: [], notes: [`worker threads were not listed: ${messageOf(error)}`] }
  }
  try {
    const wanted = attached.threads.filter(only)
    const notes =
      wanted.length > most ? [`${wanted.length - most} of ${wanted.length} worker threads are left out`] : []
    const threads = await Promise.all(
      wanted.slice(0, most).map(
        async ({ threadId, name, url, client: thread }): Promise<ThreadFacts> => ({
          threadId,
          name,
          url,
          ...(await inspectTarget(thread, target)),
        }),
      ),
    )
    return { threads, notes }
  } finally {
    await attached.close()
  }
}

/**
 * Connects to every worker thread of the process at the other end of a connection.
 * @returns the threads by id, and the function that lets them run on and ends their sessions
 * @throws {ProbeError} when the main thread does not answer: it sits in a system call
 */
export async function attachThreads(
  client: InspectorClient,
): Promise<{ threads: WorkerThread[]; close(): Promise<void> }> {
  const sessions = new Map<string, { thread: WorkerThread; wire: Wire }>()
  const offs = [
    client.on('NodeWorker.attachedToWorker', (params) => {
      const { sessionId, workerInfo } = params as { sessionId: string; workerInfo: { title: string; url: string } }
      const title = /^\[worker (\d+)\] ?(.*)$/s.exec(workerInfo.title)
      if (title === null) return
      const wire = createWire((message) => {
        client.post('NodeWorker.sendMessageToWorker', { sessionId, message }).catch((error: unknown) => {
          wire.end(`the worker thread cannot be reached (${messageOf(error)})`)
        })
      })
      // Who did not name it gets this name of Node's.
      const name = title[2] === 'WorkerThread' ? '' : (title[2] ?? '')
      const thread = { threadId: Number(title[1]), name, url: workerInfo.url, client: clientOf(wire) }
      sessions.set(sessionId, { thread, wire })
    }),
    client.on('NodeWorker.detachedFromWorker', (params) => {
      sessions.get((params as { sessionId: string }).sessionId)?.wire.end('the worker thread ended')
    }),
    client.on('NodeWorker.receivedMessageFromWorker', (params) => {
      const { sessionId, message } = params as { sessionId: string; message: string }
      sessions.get(sessionId)?.wire.receive(message)
    }),
  ]
  async function close(): Promise<void> {
    // A thread that is still paused when its session goes away takes the main thread with it at its end.
    await Promise.all([...sessions.values()].map(({ thread }) => thread.client.close()))
    await client.post('NodeWorker.disable', {}, CLOSE_MS).catch(() => {})
    for (const off of offs) off()
  }
  try {
    // Threads that are there are announced before the answer.
    await client.post('NodeWorker.enable', { waitForDebuggerOnStart: false }, ENABLE_MS)
  } catch (error) {
    await close()
    throw error
  }
  const threads = [...sessions.values()].map(({ thread }) => thread)
  return { threads: threads.sort((a, b) => a.threadId - b.threadId), close }
}

function clientOf(wire: Wire): InspectorClient {
  let closing: Promise<void> | undefined
  return {
    post: wire.post,
    on: wire.on,
    close() {
      // Sent together: a thread in a system call answers neither, but takes both, in this order, when it comes back.
      wire.post('Debugger.resume', {}, CLOSE_MS).catch(() => {})
      closing ??= wire
        .post('Debugger.disable', {}, CLOSE_MS)
        .catch(() => {})
        .then(() => wire.end('the connection was closed'))
      return closing
    },
  }
}

/**
 * A connection to the main thread of this very process, for looking at its worker threads. It must be made in the main
 * thread, whose event loop must turn for answers to come.
 */
export function connectHere(): InspectorClient {
  const session = new Session()
  session.connect()
  const offs = new Set<() => void>()
  let open = true
  return {
    post(method, params = {}, timeoutMs = 2000) {
      if (!open) return Promise.reject(new ProbeError(`${method} was not sent: the connection was closed`))
      const answer = new Promise<unknown>((resolve, reject) => {
        session.post(method, params, (error, result) => {
          if (error) reject(new ProbeError(`${method} failed: ${error.message}`))
          else resolve(result)
        })
      })
      return within(answer, timeoutMs, `${method} was not answered within ${timeoutMs} ms`)
    },
    on(method, listener) {
      const told = (message: { params?: unknown }): void => listener(message.params)
      session.on(method, told)
      const off = (): void => {
        session.off(method, told)
        offs.delete(off)
      }
      offs.add(off)
      return off
    },
    async close() {
      open = false
      for (const off of [...offs]) off()
      session.disconnect()
    },
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
