/** An actor that is forked from a zygote, from the order until its end. */
import { setTurn } from '../../process/clean.ts'
import { identify, type ProcessIdentity, signalProcess } from '../../process/identity.ts'
import type { ActorHandle, Exit, KillReport, SpawnRequest } from '../backend.ts'
import { endActorProcess, subtreeOf } from '../end-process.ts'
import { formatExit } from '../exit.ts'
import { removeSockets } from '../left-sockets.ts'
import { ExitLatch } from '../waiting.ts'
import { type ForkResult, orderActor, type Ticket } from './order.ts'

export class ZygoteHandle implements ActorHandle {
  readonly method = 'zygote'
  readonly threadId = undefined
  readonly link = null
  readonly #name: string
  readonly #lineage: string | undefined
  readonly #latch = new ExitLatch()
  readonly #ticket: Ticket
  /** The actor, where it could not be forked and was spawned. */
  #instead: ActorHandle | undefined
  #pid: number | undefined
  #identity: ProcessIdentity | undefined
  #doomed = false

  /** @param spawnInstead starts it in another way, when forking fails */
  constructor(request: SpawnRequest, spawnInstead: (why: string) => ActorHandle | undefined) {
    this.#name = request.aid.name
    this.#lineage = request.env.HARROW_LINEAGE
    this.#ticket = orderActor(request, {
      born: (pid) => {
        this.#pid = pid
        this.#identity = identify(pid)
        if (this.#doomed) this.#signal('SIGKILL')
      },
      gone: () => {
        this.#pid = undefined
        this.#identity = undefined
      },
    })
    void this.#ticket.result.then((result) => this.#finish(result, spawnInstead))
  }

  #finish(result: ForkResult, spawnInstead: (why: string) => ActorHandle | undefined): void {
    if (result.kind === 'exit') {
      this.#end(result.exit)
      return
    }
    if (this.#doomed) {
      this.#end({ code: null, signal: 'SIGKILL' })
      return
    }
    this.#instead = spawnInstead(result.why)
    if (this.#instead) void this.#instead.wait().then((exit) => this.#latch.settle(exit))
    else this.#end({ code: null, signal: null, error: new Error(`it could not be forked: ${result.why}`) })
  }

  #end(exit: Exit): void {
    if (this.#identity && exit.code !== 0) removeSockets(this.#identity)
    this.#latch.settle(exit)
    // Read by whoever reports the end, in this very turn.
    setTurn(() => this.#ticket.dispose(exit.code !== 0))
  }

  get id(): string {
    return this.#instead?.id ?? (this.#pid === undefined ? 'not started' : `pid ${this.#pid}`)
  }

  get pid(): number | undefined {
    return this.#instead ? this.#instead.pid : this.#pid
  }

  wait(signal?: AbortSignal): Promise<Exit> {
    return this.#latch.wait(signal)
  }

  poll(): Exit | undefined {
    return this.#latch.poll()
  }

  interrupt(): boolean {
    return this.#instead?.interrupt() ?? this.#signal('SIGINT')
  }

  terminate(): boolean {
    return this.#instead?.terminate() ?? this.#signal('SIGTERM')
  }

  #signal(signal: NodeJS.Signals): boolean {
    return !this.poll() && this.#identity !== undefined && signalProcess(this.#identity, signal)
  }

  async kill(limitMs: number): Promise<KillReport> {
    if (this.#instead) return await this.#instead.kill(limitMs)
    if (this.poll()) return { gone: true, ended: [], left: [] }
    // One that is not born yet is killed then.
    this.#doomed = true
    this.#ticket.giveUp()
    const pid = this.#pid
    if (pid === undefined) {
      // Whatever the zygote still makes of the order is ended at its birth.
      this.#latch.settle({ code: null, signal: 'SIGKILL' })
      return { gone: true, ended: [], left: [] }
    }
    // Actors below it are children of the zygote: known by their labels, not by descent.
    const tag = { name: 'HARROW_LINEAGE', value: this.#lineage ?? '', below: true as const }
    const query = this.#lineage === undefined ? undefined : { tag }
    const wait = (signal: AbortSignal): Promise<Exit> => this.wait(signal)
    const one = { pid, identity: this.#identity, name: this.#name, wait, ...(query && { query }) }
    return await endActorProcess(one, limitMs)
  }

  abandon(): void {
    this.#instead?.abandon()
    this.#latch.settle({ code: null, signal: null, abandoned: true })
  }

  subtree(): ProcessIdentity[] {
    const { pid } = this
    if (pid === undefined || this.poll()) return []
    return subtreeOf(pid)
  }

  outputTail(): string {
    return this.#instead ? this.#instead.outputTail() : this.#ticket.outputTail()
  }

  describe(): string {
    const exit = this.poll()
    const how = this.#instead ? ' (spawned instead)' : ''
    return `${this.method} actor ${this.#name}${how}, ${this.id}, ${exit ? formatExit(exit) : 'running'}`
  }
}
