/** An actor that is a process of its own, started by `spawn` or `fork`. */

import type { ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { setTurn } from '../process/clean.ts'
import { identify, type ProcessIdentity, signalProcess } from '../process/identity.ts'
import type { Transport } from '../wire/transport.ts'
import type { ActorHandle, Exit, KillReport, SpawnRequest } from './backend.ts'
import { endActorProcess, subtreeOf } from './end-process.ts'
import { formatExit } from './exit.ts'
import { removeSockets } from './left-sockets.ts'
import type { SpawnMethod } from './methods.ts'
import { OutputTail } from './output.ts'
import { ExitLatch } from './waiting.ts'

export class ProcessHandle implements ActorHandle {
  readonly method: SpawnMethod
  readonly threadId = undefined
  link: Transport | null = null
  readonly #name: string
  readonly #child: ChildProcess | undefined
  readonly #identity: ProcessIdentity | undefined
  readonly #latch = new ExitLatch()
  readonly #tail: OutputTail

  /**
   * @param start starts the child with these stdio entries; what it throws is told by `wait()`
   */
  constructor(
    method: SpawnMethod,
    request: SpawnRequest,
    start: (stdout: number | 'pipe' | 'inherit', stderr: number | 'pipe' | 'inherit') => ChildProcess,
  ) {
    this.method = method
    this.#name = request.aid.name
    this.#tail = new OutputTail(request.output)
    const fd = this.#tail.open()
    const where = fd ?? (request.output.mode === 'inherit' ? 'inherit' : 'pipe')
    try {
      this.#child = start(where, where)
    } catch (error) {
      this.#latch.settle({ code: null, signal: null, error })
    }
    if (fd !== undefined) closeSync(fd)
    const child = this.#child
    if (!child) return
    this.#identity = child.pid === undefined ? undefined : identify(child.pid)
    this.#tail.drain(child.stdout, 'stdout')
    this.#tail.drain(child.stderr, 'stderr')
    child.on('error', (error) => {
      if (child.pid === undefined) this.#end({ code: null, signal: null, error })
    })
    // Not 'close': a grandchild that holds the pipe would delay it.
    child.once('exit', (code, signal) => this.#end({ code, signal }))
  }

  get id(): string {
    return this.pid === undefined ? 'not started' : `pid ${this.pid}`
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  #end(exit: Exit): void {
    const keep = exit.code !== 0
    if (this.#identity && keep) removeSockets(this.#identity)
    this.#latch.settle(exit)
    // Read by whoever reports the end, in this very turn.
    setTurn(() => this.#tail.dispose(keep))
  }

  wait(signal?: AbortSignal): Promise<Exit> {
    return this.#latch.wait(signal)
  }

  poll(): Exit | undefined {
    return this.#latch.poll()
  }

  interrupt(): boolean {
    return this.#signal('SIGINT')
  }

  terminate(): boolean {
    return this.#signal('SIGTERM')
  }

  #signal(signal: NodeJS.Signals): boolean {
    if (this.poll()) return false
    if (this.#identity) return signalProcess(this.#identity, signal)
    return this.#child?.kill(signal) ?? false
  }

  async kill(limitMs: number): Promise<KillReport> {
    const { pid } = this
    if (this.poll() || pid === undefined) return { gone: true, ended: [], left: [] }
    // Without an identity there is only Node's own handle of it.
    if (!this.#identity) this.#signal('SIGKILL')
    const wait = (signal: AbortSignal): Promise<Exit> => this.wait(signal)
    return await endActorProcess({ pid, identity: this.#identity, name: this.#name, wait }, limitMs)
  }

  abandon(): void {
    this.link?.destroy()
    this.#child?.unref()
    this.#latch.settle({ code: null, signal: null, abandoned: true })
  }

  subtree(): ProcessIdentity[] {
    const { pid } = this
    if (pid === undefined || this.poll()) return []
    return subtreeOf(pid)
  }

  outputTail(): string {
    return this.#tail.tail()
  }

  describe(): string {
    const exit = this.poll()
    return `${this.method} actor ${this.#name}, ${this.id}, ${exit ? formatExit(exit) : 'running'}`
  }
}
