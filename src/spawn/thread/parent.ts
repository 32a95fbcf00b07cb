/** `thread`: one worker thread an actor, never pooled; its link is a message port. See {@link file://./entry.ts}. */

import { appendFileSync } from 'node:fs'
import { MessageChannel, type ResourceLimits, Worker } from 'node:worker_threads'
import { setTurn } from '../../process/clean.ts'
import { PortTransport } from '../../wire/transports/port.ts'
import type { ActorHandle, Backend, Exit, KillReport, SpawnRequest } from '../backend.ts'
import { entryPath } from '../entry-path.ts'
import { withCompileCache } from '../env.ts'
import { formatExit } from '../exit.ts'
import { checkBag, isPolicy, isResourceLimits } from '../options.ts'
import { OutputTail } from '../output.ts'
import { ExitLatch } from '../waiting.ts'
import { threadAbandoned } from './abandoned.ts'

/** What an actor's thread is started with. */
export interface ThreadStart {
  name: string
  uuid: string
  port: import('node:worker_threads').MessagePort
  /** Counts up while its event loop turns. */
  heartbeat: SharedArrayBuffer
}

export const backend: Backend = {
  method: 'thread',
  ownProcess: false,
  dialsBack: false,

  available: () => true,

  async selfTest() {
    const worker = new Worker('process.exit(7)', { eval: true })
    return await new Promise<true | string>((resolve) => {
      worker.once('error', (error) => resolve(`a worker thread failed: ${String(error)}`))
      worker.once('exit', (code) => resolve(code === 7 ? true : `a worker thread ended with ${code} instead of 7`))
    })
  },

  checkOptions: (options) => checkBag('thread', options, { resourceLimits: isResourceLimits, onParentLost: isPolicy }),

  spawn: (request) => new ThreadHandle(request),
}

/** Flags that are of the whole process; a worker refuses them. */
const PER_PROCESS = /^--(title|expose-gc|max-|stack-|single-threaded|v8-|no-lazy|jitless|inspect)/

class ThreadHandle implements ActorHandle {
  readonly method = 'thread'
  readonly pid = undefined
  readonly link: PortTransport
  readonly threadId: number | undefined
  readonly #name: string
  readonly #worker: Worker | undefined
  readonly #latch = new ExitLatch()
  readonly #tail: OutputTail
  readonly #heartbeat: Int32Array
  #error: unknown
  #notAbandoned: (() => void) | undefined

  constructor({ aid, execArgv, env, output, options }: SpawnRequest) {
    this.#name = aid.name
    this.#tail = new OutputTail(output)
    const { port1, port2 } = new MessageChannel()
    const heartbeat = new SharedArrayBuffer(4)
    this.#heartbeat = new Int32Array(heartbeat)
    this.link = new PortTransport(port1, `actor ${aid.name}`)
    try {
      this.#worker = new Worker(entryPath('thread'), {
        name: `harrow[${aid.name}]`,
        workerData: { name: aid.name, uuid: aid.uuid, port: port2, heartbeat } satisfies ThreadStart,
        transferList: [port2],
        env: withCompileCache(env),
        execArgv: execArgv.filter((flag) => !PER_PROCESS.test(flag)),
        stdout: output.mode !== 'inherit',
        stderr: output.mode !== 'inherit',
        trackUnmanagedFds: true,
        ...(options.resourceLimits !== undefined && { resourceLimits: options.resourceLimits as ResourceLimits }),
      })
    } catch (error) {
      this.#end({ code: null, signal: null, error })
      return
    }
    const worker = this.#worker
    this.threadId = worker.threadId
    if (output.mode === 'file') {
      const { path } = output
      for (const stream of [worker.stdout, worker.stderr]) {
        stream.on('data', (chunk: Buffer) => append(path, chunk))
      }
    } else if (output.mode === 'pipe') {
      this.#tail.drain(worker.stdout, 'stdout')
      this.#tail.drain(worker.stderr, 'stderr')
    }
    worker.on('error', (error) => {
      this.#error = error
    })
    worker.once('exit', (code) => {
      this.#notAbandoned?.()
      this.#end({ code, signal: null, ...(this.#error !== undefined && { error: this.#error }) })
    })
  }

  get id(): string {
    return this.threadId === undefined ? 'not started' : `thread ${this.threadId}`
  }

  #end(exit: Exit): void {
    this.#latch.settle(exit)
    const keep = exit.code !== 0
    setTurn(() => this.#tail.dispose(keep))
  }

  wait(signal?: AbortSignal): Promise<Exit> {
    return this.#latch.wait(signal)
  }

  poll(): Exit | undefined {
    return this.#latch.poll()
  }

  /** A thread has no signals. */
  interrupt(): boolean {
    return false
  }

  terminate(): boolean {
    if (this.poll()) return false
    void this.#worker?.terminate()
    return true
  }

  async kill(limitMs: number): Promise<KillReport> {
    this.terminate()
    try {
      await this.wait(AbortSignal.timeout(limitMs))
      return { gone: true, ended: [], left: [] }
    } catch {
      const left = [{ pid: process.pid, command: this.describe(), reason: 'does not end: it is in a system call' }]
      return { gone: false, ended: [], left }
    }
  }

  abandon(): void {
    if (this.poll()) return
    this.#notAbandoned = threadAbandoned()
    this.link.destroy()
    this.#worker?.unref()
    this.#latch.settle({ code: null, signal: null, abandoned: true })
  }

  subtree(): [] {
    return []
  }

  outputTail(): string {
    return this.#tail.tail()
  }

  describe(): string {
    const exit = this.poll()
    const state = exit && !exit.abandoned ? formatExit(exit) : `${exit ? 'abandoned, ' : ''}${this.#state()}`
    return `thread actor ${this.#name}, ${this.id}, ${state}`
  }

  /** Tells a thread that turns from one that is stuck, by whether its counter moved lately. */
  #state(): string {
    const beats = Atomics.load(this.#heartbeat, 0)
    return beats === 0 ? 'its event loop has not turned' : `its event loop has turned ${beats} times`
  }
}

function append(path: string, chunk: Buffer): void {
  try {
    appendFileSync(path, chunk, { mode: 0o600 })
  } catch {
    // A full disk costs the log, not the actor.
  }
}
