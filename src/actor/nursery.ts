/** A nursery whose children are actors: it ends when all have ended, and when one fails, all are cancelled. */
import {
  ActorGroupError,
  CancelledError,
  isCancelled,
  RuntimeFailure,
  TransportClosed,
  thrownText,
  UsageError,
} from '../errors.ts'
import { setTurn } from '../process/clean.ts'
import { monotonic } from '../scope/clock.ts'
import { currentScope, parkOn, runScope, type Scope, shield, type Task, TaskNursery } from '../scope/index.ts'
import { heldFor } from '../scope/scope.ts'
import type { ActorOutput } from '../spawn/backend.ts'
import type { SpawnMethod } from '../spawn/methods.ts'
import { type Actor, currentActorOrNone } from './actor.ts'
import { Child } from './child.ts'
import type { LogLevel } from './log.ts'
import { log } from './log.ts'
import type { Peer } from './peer.ts'
import { planChild } from './plan.ts'
import { Portal } from './portal.ts'
import { checkReference } from './reference.ts'
import type { RootOptions } from './root.ts'
import type { CHILD_SIGINT, ON_PARENT_LOST } from './spec.ts'

/** How a child actor is started. */
export interface ActorOptions {
  /** Backend, when it is not that of the tree; `HARROW_BACKEND` beats it. */
  spawnMethod?: SpawnMethod
  /** Options of the backend. */
  spawnOpts?: Record<string, unknown>
  /** More modules that it exposes, for `portal.in(url)`. */
  modules?: readonly (string | URL)[]
  /** How much of the runtime's own words it logs. */
  logLevel?: LogLevel
  /** Where its stdout and stderr go: a file of its own, lines on our stderr, or our own streams. @default 'file' */
  output?: ActorOutput['mode']
  /** More environment variables. */
  env?: Record<string, string>
  /** Takes our Node flags over, but those of the inspector and of test runners. @default true */
  inheritExecArgv?: boolean
  /** `'cancel'`: it ends when its parent is gone; `'stay'`: it serves on until a signal. @default 'cancel' */
  onParentLost?: (typeof ON_PARENT_LOST)[number]
  /** `'ipc'`: SIGINT is ignored while the parent is there; `'runtime'`: it ends the actor. @default 'ipc' */
  childSigint?: (typeof CHILD_SIGINT)[number]
  /** Addresses to bind. @default one of its own */
  bindAddrs?: readonly string[]
  debugMode?: boolean
}

export interface StartOptions extends ActorOptions {
  /** URL of the module whose functions it offers: `new URL('./tally.ts', import.meta.url)`. */
  module?: string | URL
}

export interface RunOptions<A extends unknown[]> extends ActorOptions {
  /** @default the function's name */
  name?: string
  args?: A
}

export interface NurseryOptions {
  /** For dumps and logs. */
  name?: string
  /** Options of the root, when this is the first nursery of the process. */
  root?: RootOptions
}

/** What an actor nursery is to its body. */
export class ActorNursery {
  readonly actor: Actor
  readonly name: string
  /** This nursery has opened the runtime, and closes it. */
  readonly implicitRuntimeStarted: boolean
  /** Living children by uuid. */
  readonly children = new Map<string, Child>()
  /** A cancel was asked for. */
  cancelCalled = false
  /** All children acknowledged it by themselves. */
  cancelledCaught = false
  /** All children are dead and reaped. */
  exited = false

  readonly #supervisors: TaskNursery
  readonly #failures: { key: string; error: unknown }[] = []
  readonly #gate = Promise.withResolvers<void>()
  #scope: Scope | undefined
  #closed = false
  #anyEscalated = false
  #wake = Promise.withResolvers<void>()
  #cancelling: Promise<void> | undefined

  /** @internal */
  constructor(actor: Actor, name: string, implicitRuntimeStarted: boolean) {
    this.actor = actor
    this.name = name
    this.implicitRuntimeStarted = implicitRuntimeStarted
    this.#supervisors = new TaskNursery(actor.scope.shieldedChild(`${name} supervision`), {
      name: `${name} supervision`,
      supervise: 'none',
    })
  }

  /** Number of living children. */
  get size(): number {
    return this.children.size
  }

  /**
   * Starts an actor that serves calls until it is cancelled. Calls that are made before it is through with its boot
   * wait there.
   *
   * @param name for people and for `findActor`; need not be unique
   * @returns a portal to it
   * @throws UsageError for a wrong option, BackendUnavailableError, ActorFailure when it does not come up
   */
  async startActor<M = Record<string, (...args: never[]) => unknown>>(
    name: string,
    options: StartOptions = {},
  ): Promise<Portal<M>> {
    const { module, ...rest } = options
    const { portal } = await this.#start(name, module === undefined ? [] : [module], rest)
    return portal as unknown as Portal<M>
  }

  /**
   * Starts an actor for one call; at the end of the nursery its result is waited for, and it is cancelled.
   *
   * @param fn an exported async function
   * @returns a portal; `portal.waitForResult()` has the result, also after the nursery has closed
   * @throws TypeError before anything is spawned, for a generator, a function that is not async, or one that is no export
   */
  async runInActor<A extends unknown[], R>(
    fn: (...args: A) => Promise<R>,
    options: RunOptions<A> = {},
  ): Promise<Portal<Record<string, (...args: unknown[]) => unknown>, R>> {
    const { url, name: exported } = await checkReference(fn)
    const { name = exported, args = [], ...rest } = options
    const { portal, child, peer } = await this.#start(name, [url], rest)
    const call = this.#supervisors.spawn(() => peer.call(url, exported, args as unknown[]), {
      name: `result of ${name}`,
    })
    portal.main = { result: call.result }
    call.result.catch(() => {})
    this.#reapResult(child, call)
    return portal as Portal<Record<string, (...args: unknown[]) => unknown>, R>
  }

  async #start(
    name: string,
    modules: readonly (string | URL)[],
    options: ActorOptions,
  ): Promise<{ portal: Portal; child: Child; peer: Peer }> {
    this.#checkOpen()
    currentScope().throwIfCancelled()
    const plan = await planChild(this.actor, name, [...modules, ...(options.modules ?? [])], options)
    this.#checkOpen()
    const child = new Child(this.actor, plan)
    this.children.set(child.aid.uuid, child)
    let peer: Peer
    try {
      peer = await child.boot()
    } catch (error) {
      this.#remove(child)
      throw error
    }
    this.#supervisors.spawn(() => this.#supervise(child), { name: `child ${name}` })
    // It may have been asked to end while it booted.
    if (this.cancelCalled) void child.stop()
    return { portal: new Portal(peer), child, peer }
  }

  /** Looked at again after each wait before the child is one of {@link children}: nobody waits for it until then. */
  #checkOpen(): void {
    if (!this.#closed && !this.cancelCalled) return
    throw new RuntimeFailure(
      `nursery ${this.name} is ${this.#closed ? 'closed' : 'being cancelled'}: no actor can be started in it.`,
    )
  }

  #remove(child: Child): void {
    this.children.delete(child.aid.uuid)
    this.actor.registry?.unregister(child.aid.uuid)
    this.#changed()
  }

  /** Wakes whoever waits for the set of children to change, or for a failure; each change has a promise of its own. */
  #changed(): void {
    const wake = this.#wake
    this.#wake = Promise.withResolvers()
    wake.resolve()
  }

  async #supervise(child: Child): Promise<void> {
    const exit = await child.ended()
    await child.reap(exit)
    if (child.escalated) this.#anyEscalated = true
    if (child.failure !== undefined) this.#fail(child.aid.uuid, child.failure)
    this.#remove(child)
  }

  /** Looks at the result of an actor that runs once; not before the body is over. */
  #reapResult(child: Child, call: Task<unknown>): void {
    this.#supervisors.spawn(
      async () => {
        await this.#gate.promise
        try {
          await call.result
        } catch (error) {
          if (!child.stopCalled || !isCancelled(error)) await this.#resultFailed(child, error)
        }
        await child.stop()
      },
      { name: `result of ${child.aid.name}` },
    )
  }

  async #resultFailed(child: Child, error: unknown): Promise<void> {
    // A channel that broke under the call: how the actor ended says more.
    if (error instanceof TransportClosed) {
      await child.handle?.wait(AbortSignal.timeout(this.actor.vars.deadlines.linkDrain)).catch(() => {})
      await new Promise((resolve) => setTurn(resolve))
      if (child.failure !== undefined || child.stopCalled) return
    }
    this.#fail(child.aid.uuid, error)
  }

  /** An error of the link of one of our children; its exit follows, and is no more than its echo. @internal */
  linkFailed(peer: Peer, error: unknown): void {
    const child = [...this.children.values()].find((one) => one.peer === peer)
    if (child && !child.stopCalled) child.failure ??= error
  }

  /** One fails, all are cancelled. */
  #fail(key: string, error: unknown): void {
    if (this.#failures.some((failure) => failure.key === key)) return
    this.#failures.push({ key, error })
    const name = thrownText(error).split('\n', 1)[0]
    this.#scope?.cancel(
      new CancelledError(`nursery ${this.name}: ${name}`, { source: 'sibling', by: key, cause: error }),
    )
    this.#gate.resolve()
    this.#changed()
  }

  /**
   * Cancels all children side by side: each is asked, and made to end when it does not. Bounded; settles when
   * all are gone. The body goes on.
   *
   * @param options.hardKill do not ask
   */
  cancel(options: { hardKill?: boolean } = {}): Promise<void> {
    this.cancelCalled = true
    this.#gate.resolve()
    const hard = options.hardKill ?? false
    const stopped = Promise.all([...this.children.values()].map((child) => child.stop({ hard })))
    const gone = stopped.then(() => this.#allGone())
    if (!hard) this.#cancelling ??= gone
    // Bounded by itself: a caller who is cancelled meanwhile is waited for, or its root would stay open.
    return heldFor(() => (hard ? gone : this.#cancelling!))
  }

  async #allGone(): Promise<void> {
    while (this.children.size > 0) await this.#wake.promise
    this.cancelledCaught = this.cancelCalled && !this.#anyEscalated
  }

  /** Runs the body, waits for the children, and decides what leaves. @internal */
  async run<T>(body: (nursery: ActorNursery) => Promise<T>): Promise<T> {
    let value: T | undefined
    let bodyFailed = false
    let bodyError: unknown
    this.actor.nurseries.add(this)
    try {
      value = await runScope({ name: this.name }, async (scope) => {
        this.#scope = scope
        const result = await body(this)
        this.#gate.resolve()
        await this.#join()
        return result
      })
    } catch (error) {
      bodyFailed = true
      bodyError = error
    }
    if (bodyError instanceof TransportClosed) await heldFor(() => this.#letDie())
    await this.#close()
    const error = this.#outcome(bodyFailed, bodyError)
    if (error) throw error.error
    return value as T
  }

  /** Waits for all children; daemons for as long as nobody cancels them. */
  async #join(): Promise<void> {
    while (this.children.size > 0 && this.#failures.length === 0) {
      await parkOn({ reason: 'child actor', on: [...this.children.values()].join(', ') }, this.#wake.promise)
    }
    // Results that came with the last child are looked at in the same way.
    await this.#supervisors.idle?.()
  }

  /** A channel that broke under the body is mostly an actor that dies: how it does says more than the channel. */
  async #letDie(): Promise<void> {
    const limitMs = this.actor.vars.deadlines.linkDrain
    const dying = [...this.children.values()].filter((child) => !child.stopCalled && child.peer?.connected === false)
    await Promise.all(dying.map((child) => child.handle?.wait(AbortSignal.timeout(limitMs)).catch(() => {})))
    // Those that supervise them look first.
    const looked = monotonic() + limitMs
    while (dying.some((child) => child.exit === undefined && child.handle?.poll()) && monotonic() < looked) {
      await new Promise((resolve) => setTurn(resolve))
    }
  }

  /** No child outlives its nursery, whichever way it is left. */
  async #close(): Promise<void> {
    this.#closed = true
    this.#gate.resolve()
    const { nurseryCancel, hardKillAfter, killConfirm, threadAbandon, linkDrain } = this.actor.vars.deadlines
    const boundMs = nurseryCancel + hardKillAfter + killConfirm + 2 * threadAbandon + 4 * linkDrain
    try {
      await shield(boundMs, `the end of nursery ${this.name}`, async () => {
        if (this.children.size > 0) await this.cancel()
        await this.#supervisors.join()
      })
    } catch (error) {
      log('critical', `nursery ${this.name} could not end its actors: ${thrownText(error)}`)
    }
    this.exited = this.children.size === 0
    this.actor.nurseries.delete(this)
  }

  /** One error leaves bare, several as a group; echoes and cancellations that they caused are left out. */
  #outcome(bodyFailed: boolean, bodyError: unknown): { error: unknown } | undefined {
    const failures = this.#failures.map(({ error }) => error)
    if (bodyFailed && !this.#isEcho(bodyError, failures)) failures.push(bodyError)
    if (failures.length === 0) return undefined
    if (failures.length === 1) return { error: failures[0] }
    // An error of the body came first: the others are what its cancellation led to.
    const distinct = [...new Set(failures)]
    return { error: distinct.length === 1 ? distinct[0] : new ActorGroupError(distinct) }
  }

  #isEcho(error: unknown, failures: readonly unknown[]): boolean {
    if (failures.length === 0) return false
    if (failures.includes(error)) return true
    if (isCancelled(error) && this.#scope?.cancelCalled) return true
    return error instanceof TransportClosed && failures.length > 0
  }
}

/**
 * Opens an actor nursery, runs `body`, and ends when all of its actors have ended. The first one in a
 * process opens the runtime as well.
 *
 * When the body or an actor fails, all others are cancelled; one error leaves as it is, several as {@link ActorGroupError}.
 * Cancelling the scope around it cancels all actors, bounded.
 *
 * @returns what the body returns
 * @example
 * ```ts
 * import { openNursery } from 'harrow'
 *
 * const sum = await openNursery(async (an) => {
 *   const portal = await an.startActor('adder', { module: new URL('./adder.ts', import.meta.url) })
 *   const result = await portal.call('add', 2, 3)
 *   await portal.cancelActor()
 *   return result
 * })
 * ```
 */
export async function openNursery<T>(body: (nursery: ActorNursery) => Promise<T>): Promise<T>
export async function openNursery<T>(options: NurseryOptions, body: (nursery: ActorNursery) => Promise<T>): Promise<T>
export async function openNursery<T>(
  first: NurseryOptions | ((nursery: ActorNursery) => Promise<T>),
  second?: (nursery: ActorNursery) => Promise<T>,
): Promise<T> {
  const [options, body] = typeof first === 'function' ? [{}, first] : [first, second]
  if (typeof body !== 'function') {
    throw new UsageError(`openNursery() expects a function as its last argument, got ${typeof body}.`)
  }
  const actor = currentActorOrNone()
  const name = options.name ?? 'nursery'
  if (actor) return await new ActorNursery(actor, name, false).run(body)
  const { openRoot } = await import('./root.ts')
  return await openRoot(options.root ?? {}, (root) => new ActorNursery(root, name, true).run(body))
}
