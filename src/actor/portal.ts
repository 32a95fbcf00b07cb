import { ActorTooSlowError, NoResult, RuntimeFailure, TransportClosed } from '../errors.ts'
import { currentScope, runScope } from '../scope/index.ts'
import { checkCount, checkMs } from '../scope/limits.ts'
import { heldFor } from '../scope/scope.ts'
import { captureSite } from '../scope/sites.ts'
import type { Aid } from '../wire/messages.ts'
import { Context } from './context.ts'
import { LIMITS } from './deadlines.ts'
import type { Calls, Contexts, Generators } from './endpoints.ts'
import { log } from './log.ts'
import type { Peer } from './peer.ts'
import { checkReference } from './reference.ts'
import type { Stream } from './stream.ts'

export interface ContextOptions {
  /** Items of its stream that are buffered here, from 1 up. @default 64 */
  buffer?: number
  /** See `StreamOptions.allowOverruns`. */
  allowOverruns?: boolean
}

/** The main call of an actor that runs once. @internal */
export interface MainCall {
  /** Settles with the result; has its own handler, so that it never counts as unhandled. */
  result: Promise<unknown>
}

/**
 * The way to call functions in another actor. `M` is the type of its module: `an.startActor<typeof import('./tally.ts')>(...)`
 * makes a portal that knows the names, parameters and results of its functions.
 */
export class Portal<M = Record<string, (...args: unknown[]) => unknown>, Result = unknown> {
  /** Who is on the other side. */
  readonly aid: Aid
  readonly #peer: Peer
  readonly #module: string
  /** @internal */
  main: MainCall | undefined

  /** @internal */
  constructor(peer: Peer, module = '') {
    this.#peer = peer
    this.#module = module
    this.aid = peer.aid
  }

  /** Is the channel open? */
  get connected(): boolean {
    return this.#peer.connected
  }

  /** @internal */
  get peer(): Peer {
    return this.#peer
  }

  /**
   * A portal to another module that the actor exposes.
   *
   * @param url as it was given in `modules` when the actor was started
   */
  in<Other>(url: string | URL): Portal<Other> {
    return new Portal<Other>(this.#peer, String(url))
  }

  /**
   * Calls an exported function. Cancelling the scope of the caller cancels the task there, and waits for its end at most
   * `ctxCancel` (616 ms).
   *
   * @param name the function
   * @param args its arguments; anything but functions, symbols, promises and instances of unknown classes
   * @throws RemoteActorError when the function throws, ContextCancelled when it is cancelled there, TransportClosed when the
   * channel breaks, ModuleNotExposed and TypeError boxed; MsgTypeError at once for an argument that cannot travel
   * @example
   * ```ts
   * import { openNursery } from 'harrow'
   *
   * await openNursery(async (an) => {
   *   const portal = await an.startActor('tally', { module: new URL('./tally.ts', import.meta.url) })
   *   await portal.call('add', 2)
   *   await portal.cancelActor()
   * })
   * ```
   */
  call<K extends keyof Calls<M> & string>(name: K, ...args: Parameters<Calls<M>[K]>): ReturnType<Calls<M>[K]> {
    return this.#peer.call(this.#module, name, args, captureSite()) as ReturnType<Calls<M>[K]>
  }

  /**
   * Calls a function by reference; it must be an export of a module that the actor exposes.
   *
   * @throws TypeError before anything is sent when the reference leads to no export
   */
  async run<A extends unknown[], R>(fn: (...args: A) => Promise<R>, ...args: A): Promise<R> {
    const site = captureSite()
    const { url, name } = await checkReference(fn)
    return (await this.#peer.call(url, name, args, site)) as R
  }

  /**
   * Opens a context: starts the endpoint there, waits for its first value, runs `body`, and waits for the result (R-402,
   * An error of the body cancels the far side; an error of the far side interrupts the body.
   *
   * @param name an endpoint made by `context()`
   * @param args its arguments
   * @param body gets this end of the dialog and the first value
   * @returns what the body returns; undefined when `ctx.cancel()`, called by a task outside of the body, ended it. The
   * far side's result is in `ctx.outcome`
   * @throws what the body throws; what the far side throws, boxed; ContextCancelled when it was cancelled by somebody else
   * than `ctx.cancel()`
   */
  async openContext<K extends keyof Contexts<M> & string, R>(
    name: K,
    args: Contexts<M>[K]['args'],
    body: (
      ctx: Context<Contexts<M>[K]['first'], Contexts<M>[K]['in'], Contexts<M>[K]['out'], Contexts<M>[K]['result']>,
      first: Contexts<M>[K]['first'],
    ) => Promise<R>,
    options: ContextOptions = {},
  ): Promise<R> {
    return (await this.#open('context', name, args as unknown[], body as never, options)) as R
  }

  /**
   * Runs an async generator there and hands out its items; leaving the body cancels it, and its `finally` runs.
   *
   * @param name an exported async generator
   * @param args its arguments
   * @param body gets the stream of its items
   */
  openStreamFrom<K extends keyof Generators<M> & string, R>(
    name: K,
    args: Generators<M>[K]['args'],
    body: (stream: Stream<never, Generators<M>[K]['item']>) => Promise<R>,
    options: ContextOptions = {},
  ): Promise<R> {
    const run = async (ctx: Context): Promise<R> => {
      const value = await ctx.openStream(body as never)
      if (!ctx.ended) await ctx.cancel()
      return value as R
    }
    return this.#open('generator', name, args as unknown[], run as never, options) as Promise<R>
  }

  async #open(
    kind: 'context' | 'generator',
    name: string,
    args: unknown[],
    body: (ctx: Context, first: unknown) => Promise<unknown>,
    { buffer = LIMITS.streamBuffer, allowOverruns = false }: ContextOptions,
  ): Promise<unknown> {
    const peer = this.#peer
    checkCount(`the option "buffer" of ${name}`, buffer, 1)
    if (peer.aid.uuid === peer.actor.aid.uuid) {
      throw new RuntimeFailure(`a context with one's own actor (${peer.aid.name}) cannot be opened (R-405).`)
    }
    currentScope().throwIfCancelled()
    const ctx = new Context(peer, 'parent', name, buffer, allowOverruns)
    ctx.site = captureSite()
    ctx.cid = peer.open(ctx, this.#module, name, args, kind, { buffer, allowOverruns })
    try {
      const first = await ctx.waitStarted()
      const value = await runScope({ name: ctx.label }, async (scope) => {
        ctx.bind(scope)
        return await body(ctx, first)
      })
      // Its own scope is cancelled by the far side only: what came from there is the error then.
      if (ctx.remoteError !== undefined && !ctx.cancelAcked) throw ctx.remoteError
      await ctx.waitForResult()
      return value
    } catch (error) {
      throw await this.#leave(ctx, error)
    } finally {
      peer.asked.delete(ctx.cid)
      ctx.finish()
    }
  }

  /** The body or the far side has failed, or we were cancelled: the far side ends first. @returns what is to be thrown */
  async #leave(ctx: Context, error: unknown): Promise<unknown> {
    // A remote error that had come before our own cancellation goes first; our body's own error beats its echo.
    if (ctx.isRemote(error)) return ctx.remoteError
    ctx.localError = error
    if (!ctx.ended) {
      ctx.cancelCalled = true
      await heldFor(() => ctx.peer.cancelTask(ctx.cid))
    }
    return error
  }

  /**
   * Asks the actor to end: its tasks are cancelled and waited for, its server closes, then it acknowledges.
   *
   * @param options.timeoutMs wait for the acknowledgement. @default 500
   * @param options.raiseOnTimeout throw instead of giving false when it does not come in time
   * A child of ours that does not acknowledge is made to end, as at the end of its nursery: asked again, SIGTERM, then SIGKILL
   * (R-211).
   *
   * @returns true when it has acknowledged; false when the channel is closed or breaks meanwhile, or nothing came in time
   * @throws ActorTooSlowError with `raiseOnTimeout`; UsageError for a limit that is none
   */
  async cancelActor(options: { timeoutMs?: number; raiseOnTimeout?: boolean } = {}): Promise<boolean> {
    const { deadlines } = this.#peer.actor.vars
    const { timeoutMs = deadlines.cancelAck, raiseOnTimeout = false } = options
    const limitMs = checkMs('cancelActor({ timeoutMs })', timeoutMs)
    const how = await heldFor(() => this.#peer.cancelActor(limitMs, deadlines.nurseryCancel))
    if (how === 'late' && raiseOnTimeout) {
      throw new ActorTooSlowError(
        `actor ${this.aid.name} did not acknowledge its cancellation in ${timeoutMs} ms`,
        this.#peer.uid,
        timeoutMs,
      )
    }
    if (how === 'late') this.#peer.actor.insist(this.#peer)
    return how === 'acked'
  }

  /**
   * The result of an actor that runs once, also after its nursery has closed. For any other actor it gives {@link NoResult}
   * with a warning.
   */
  async waitForResult(): Promise<Result> {
    if (!this.main) {
      log('warning', `actor ${this.aid.name} has no main task: there is no result to wait for`)
      return NoResult as Result
    }
    return (await this.main.result) as Result
  }

  /** Counts as a user of its connection until {@link close}. @internal */
  use(): this {
    this.#peer.users++
    this.#uses = true
    return this
  }

  #uses = false

  /**
   * Lets go of a connection that `findActor` has made; it is closed when nobody else uses it. The link to a child or to
   * the parent stays, whichever way the portal was found.
   */
  async close(): Promise<void> {
    if (!this.#uses) return
    this.#uses = false
    await this.#peer.letGo()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** For tests of broken channels. */
export function breakIpc(stream: Portal<never> | Context, options: { method?: 'destroy' | 'end' } = {}): void {
  const peer = stream.peer
  const reason = new TransportClosed('broken on purpose', { by: 'local' })
  if (options.method === 'end') void peer.channel.close(0)
  else peer.channel.destroy(reason)
  peer.end(reason)
}
