/** A linked pair of tasks, one in each of two actors: a first value, a stream, a result. */
import {
  ActorTooSlowError,
  CancelledError,
  ContextCancelled,
  isCancelled,
  RuntimeFailure,
  StreamOverrun,
  type TransportClosed,
  type Uid,
  UsageError,
} from '../errors.ts'
import { currentScope, moveOnAfter, park, type Scope } from '../scope/index.ts'
import { heldFor } from '../scope/scope.ts'
import { Msg } from '../wire/messages.ts'
import { packError } from '../wire/remote-error.ts'
import { LIMITS } from './deadlines.ts'
import { log } from './log.ts'
import type { Dialog, Peer } from './peer.ts'
import { fromSite } from './pending-call.ts'
import { Mailbox, Stream, type StreamOptions } from './stream.ts'

/** Marks "none yet", since `null` and `undefined` are results. */
const UNSET: unique symbol = Symbol('unset')

const contexts = new WeakMap<Scope, Context<never, never, never, never>>()

/** The context that a scope belongs to, looked for outwards. */
export function contextOf(scope: Scope | null): Context<never, never, never, never> | undefined {
  for (let at = scope; at; at = at.parent) {
    const found = contexts.get(at)
    if (found) return found
  }
  return undefined
}

/**
 * One end of a dialog between two tasks. In an endpoint marked by `context()` it is the first argument; in the actor that
 * opened it, the first argument of the body.
 *
 * Who cancelled whom is told by `cancelCalled` (this side asked), `cancelAcked` (and the other side ended because of that),
 * `canceller`, `remoteError`, `localError`, `maybeError` (remote wins) and `outcome`.
 *
 * @typeParam First value of `started()`
 * @typeParam Sends items that this side sends
 * @typeParam Receives items that this side receives
 * @typeParam Result what the endpoint returns
 */
export class Context<First = unknown, Sends = unknown, Receives = unknown, Result = unknown> implements Dialog {
  readonly peer: Peer
  readonly side: 'parent' | 'child'
  /** Name of the endpoint. */
  readonly name: string
  /** This side has asked for the cancellation. */
  cancelCalled = false
  /** The other side ended because this side had asked. */
  cancelAcked = false
  /** What came over the channel instead of a result. */
  remoteError: unknown
  /** What the body of this side threw. */
  localError: unknown
  /** Scope that a remote error cancels; the body of the parent, the task of the child. */
  scope: Scope | undefined
  /** @internal */
  cid = 0
  /** @internal where it was opened */
  site: object | undefined
  /** @internal items that have come and wait to be taken */
  readonly mailbox: Mailbox

  #first: unknown = UNSET
  #result: unknown = UNSET
  #over = false
  /** The cancellation was asked for by a task that is none of the body's. */
  #outOfBand = false
  #stream: Stream<never, never> | undefined
  readonly #waiters = new Set<() => void>()
  #broken: TransportClosed | undefined

  /** @internal */
  constructor(peer: Peer, side: 'parent' | 'child', name: string, buffer: number, allowOverruns: boolean) {
    this.peer = peer
    this.side = side
    this.name = name
    this.mailbox = new Mailbox(this, buffer, allowOverruns)
  }

  get label(): string {
    return `context ${this.peer.aid.name}.${this.name}`
  }

  /** Binds the scope that a remote error cancels. @internal */
  bind(scope: Scope): void {
    this.scope = scope
    contexts.set(scope, this as never)
    // It may have failed while nobody was there to be interrupted.
    if (this.side === 'parent' && this.remoteError !== undefined) this.#cancelScope(this.remoteError)
  }

  /** Remote error if there is one, else the local one. */
  get maybeError(): unknown {
    return this.remoteError ?? this.localError ?? null
  }

  /** Actor whose doing a cancellation was; for a peer's cancellation, the actor that passed it on. */
  get canceller(): Uid | undefined {
    const error = this.remoteError ?? this.localError
    if (!(error instanceof ContextCancelled)) return undefined
    const self = this.peer.actor.aid.uuid
    return error.canceller?.[1] === self ? error.canceller : (error.srcUid ?? error.canceller)
  }

  /** The result, or the error that came instead; undefined while there is neither. */
  get outcome(): Result | Error | undefined {
    if (this.remoteError !== undefined) return this.remoteError as Error
    return this.#result === UNSET ? undefined : (this.#result as Result)
  }

  /** True when a result or an error has come, or the channel is gone. */
  get ended(): boolean {
    return this.#result !== UNSET || this.remoteError !== undefined || this.#broken !== undefined
  }

  // ---- the child's side

  /**
   * Tells the parent the first value; its `openContext` goes on then. Once, and before a stream.
   *
   * @param value anything that can travel
   * @throws RuntimeFailure on the parent's side, or the second time; MsgTypeError for a value that cannot travel
   */
  started(value?: First): void
  /** @internal */
  started(value: unknown): void
  started(value?: unknown): void {
    if (this.side === 'parent') {
      this.#gotFirst(value)
      return
    }
    if (this.#first !== UNSET) throw new RuntimeFailure(`started() was called twice in context ${this.name}.`)
    this.peer.check(this.label)
    this.peer.channel.send([Msg.started, this.cid, value])
    this.#first = value
  }

  // ---- the parent's side

  #gotFirst(value: unknown): void {
    if (this.#first !== UNSET) return
    this.#first = value
    this.#notify()
  }

  #notify(): void {
    for (const waiter of [...this.#waiters]) waiter()
  }

  /** Waits for the first value. @internal */
  async waitStarted(): Promise<First> {
    await this.#until('context result', () => this.#first !== UNSET)
    if (this.#first !== UNSET) return this.#first as First
    // A far side that returned without a word has no first value.
    if (this.#result !== UNSET) return undefined as First
    throw this.remoteError ?? this.#broken
  }

  /**
   * Waits for the result. Late items of the stream are dropped meanwhile. After `cancel()` of this side it gives the
   * {@link ContextCancelled} that answered it instead of throwing it.
   *
   * @throws ActorTooSlowError when a cancelled far side does not end within `nurseryCancel`; RuntimeFailure in the child; what the far side threw, boxed; TransportClosed
   */
  async waitForResult(): Promise<Result | ContextCancelled> {
    if (this.side === 'child') throw new RuntimeFailure('waitForResult() is for the side that opened the context.')
    if (this.cancelCalled) await this.#untilEndedOrLate()
    else await this.#until('context result', () => this.ended)
    if (this.cancelAcked) return this.remoteError as ContextCancelled
    if (this.remoteError !== undefined) throw this.remoteError
    if (this.#result !== UNSET) return this.#result as Result
    throw this.#broken
  }

  /** A far side that was cancelled has so long; one that is stopped or blocked gives no answer at all. */
  async #untilEndedOrLate(): Promise<void> {
    const limitMs = this.peer.actor.vars.deadlines.nurseryCancel
    const outcome = await moveOnAfter(limitMs, () => this.#until('context result', () => this.ended))
    if (!outcome.timedOut) return
    throw new ActorTooSlowError(
      `${this.label} was cancelled and has not ended within ${limitMs} ms`,
      this.peer.uid,
      limitMs,
    )
  }

  /** Waits until `done`, an error or the end of the channel. */
  #until(reason: 'context result', done: () => boolean): Promise<void> {
    if (done() || this.ended) return Promise.resolve()
    return park({ reason, on: this.label, by: this.peer.aid.name }, (resolve) => {
      const waiter = (): void => {
        if (!done() && !this.ended) return
        this.#waiters.delete(waiter)
        resolve(undefined)
      }
      this.#waiters.add(waiter)
      return () => {
        this.#waiters.delete(waiter)
      }
    })
  }

  // ---- cancellation

  /**
   * Cancels the far side. From the parent: the task there is cancelled and its end awaited, at most `ctxCancel`; a body that
   * asked for it goes on, one that somebody outside of it has it done to is interrupted. From the child: its own task is cancelled at once, and the parent is told that it was its own doing.
   */
  async cancel(): Promise<void> {
    if (this.cancelCalled) return
    if (this.side === 'child') {
      this.cancelCalled = true
      const self = this.peer.actor.uid
      this.scope?.cancel(
        new ContextCancelled(`task ${this.name} of actor ${self[0]} cancelled itself`, {
          canceller: self,
          srcUid: self,
        }),
      )
      return
    }
    if (this.ended) return
    this.cancelCalled = true
    this.#outOfBand = !this.#isOurs(currentScope())
    await heldFor(() => this.peer.cancelTask(this.cid))
  }

  /** Does this code run in the body of this side? */
  #isOurs(scope: Scope): boolean {
    for (let at: Scope | null = scope; at; at = at.parent) if (at === this.scope) return true
    return false
  }

  /** @internal the child's side: what cancelled its task, as the parent is to be told */
  cancellation(reason: CancelledError | undefined): ContextCancelled {
    if (reason instanceof ContextCancelled && reason.srcUid) return reason
    const self = this.peer.actor.uid
    const canceller = reason instanceof ContextCancelled ? reason.canceller : self
    const message = reason?.message ?? `task ${this.name} of actor ${self[0]} was cancelled`
    return new ContextCancelled(message, { canceller, srcUid: self, cause: reason?.cause })
  }

  // ---- messages

  item(value: unknown): void {
    if (!this.#over) this.mailbox.put(value)
  }

  stop(): void {
    this.mailbox.end()
  }

  granted(count: number): void {
    this.mailbox.grant(count)
  }

  returned(value: unknown): void {
    this.#result = value
    this.mailbox.end()
    this.mailbox.refuse()
    this.#notify()
  }

  failed(error: unknown): void {
    fromSite(error, this.site)
    this.remoteError = error
    const self = this.peer.actor.aid.uuid
    if (this.cancelCalled && error instanceof ContextCancelled && error.canceller?.[1] === self) {
      this.cancelAcked = true
      this.localError = error
    }
    this.#interrupt(error)
  }

  lost(reason: TransportClosed): void {
    if (this.ended) return
    fromSite(reason, this.site)
    this.#broken = reason
    this.remoteError = reason
    this.#interrupt(reason)
  }

  /** A task that waits on this context gets the error there; else the body is cancelled. */
  #interrupt(error: unknown): void {
    const waiting = this.#waiters.size > 0 || this.mailbox.waiting
    this.mailbox.fail(error)
    this.#notify()
    if (!waiting && (!this.cancelAcked || this.#outOfBand)) this.#cancelScope(error)
  }

  #cancelScope(error: unknown): void {
    this.scope?.cancel(
      new CancelledError(`the far side of ${this.label} failed`, {
        source: 'context',
        by: this.peer.aid.name,
        cause: error,
      }),
    )
  }

  // ---- the stream

  /**
   * Opens the stream of this side for the time of `body`; the end of the body ends our half, not the context.
   * An end by the other side is taken in. Only one stream a context, ever.
   *
   * @param body gets the stream
   * @param options see {@link StreamOptions}
   * @throws RuntimeFailure for a second stream, or in the child before `started()`; the cancellation after `cancel()`
   */
  async openStream<R>(
    body: (stream: Stream<Sends, Receives>) => Promise<R>,
    options: StreamOptions = {},
  ): Promise<R | undefined> {
    if (this.#stream) throw new RuntimeFailure(`a stream is opened once only, and that of ${this.label} was.`)
    if (this.side === 'child' && this.#first === UNSET) {
      throw new RuntimeFailure(`started() comes before openStream() in context ${this.name}.`)
    }
    if (this.remoteError !== undefined) throw this.remoteError
    if (this.cancelCalled) throw new UsageError(`${this.label} was cancelled: no stream can be opened on it.`)
    const stream = new Stream<Sends, Receives>(this as never, options)
    this.#stream = stream as never
    try {
      const value = await body(stream)
      stream.close()
      return value
    } catch (error) {
      if (error === this.mailbox.endOfStream) {
        stream.close()
        return undefined
      }
      stream.abort()
      throw error
    }
  }

  /** Is everything of this context over? Late messages are dropped from here on. @internal */
  finish(): void {
    this.#over = true
    this.mailbox.end()
    if (this.mailbox.dropped > LIMITS.resultDrain) {
      log('warning', `${this.mailbox.dropped} items of ${this.label} came and were never taken`)
    }
  }

  /** Tells the sender that we cannot keep up. @internal */
  overrun(): void {
    const self = this.peer.actor.uid
    const wire = packError(
      new StreamOverrun(`actor ${self[0]} does not take the items of ${this.name}: its buffer is full`, {
        srcUid: self,
        srcTypeName: 'StreamOverrun',
        boxedTypeName: 'StreamOverrun',
        boxedType: StreamOverrun,
        srcType: StreamOverrun,
        relayPath: [],
        remoteStack: '',
        remoteMessage: 'buffer is full',
      }),
      self,
    )
    this.peer.reply([Msg.error, this.cid, wire])
  }

  /** Is this the error of the far side, as it came or as the cancellation that it led to? @internal */
  isRemote(error: unknown): boolean {
    if (this.remoteError === undefined) return false
    if (error === this.remoteError) return true
    return isCancelled(error) && this.scope?.reason !== undefined && this.scope.reason.cause === this.remoteError
  }
}
