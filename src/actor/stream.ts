/** Items within a context, in order, with back-pressure; it ends once. */
import { EndOfStream, RuntimeFailure, TransportClosed } from '../errors.ts'
import { currentScope, park } from '../scope/index.ts'
import { lateAfter } from '../wire/late.ts'
import { Msg } from '../wire/messages.ts'
import type { Context } from './context.ts'
import { LIMITS } from './deadlines.ts'
import { log } from './log.ts'

export interface StreamOptions {
  /**
   * Takes items beyond the buffer into a queue of 616 instead of failing the sender while nobody has opened the stream
   * (R-422).
   * @default false
   */
  allowOverruns?: boolean
}

/** The far side that is meant; a context with any types. */
type AnyContext = Context<never, never, never, never>

/** What has come for one end of a context, and what it may still send. */
export class Mailbox {
  /** The same object for every `receive()` after the end. */
  readonly endOfStream = new EndOfStream()
  /** Items that came when nobody could take them any more. */
  dropped = 0
  readonly buffer: number
  allowOverruns: boolean

  readonly #context: AnyContext
  #items: unknown[] = []
  #head = 0
  #ended = false
  #error: unknown
  #hasError = false
  #taker: { resolve(value: unknown): void; reject(error: unknown): void } | undefined
  /** Items that the other side takes before it grants more. */
  #credit: number = LIMITS.streamBuffer
  #peerOpened = false
  #refused = false
  /** Senders that wait for room. */
  readonly #space = new Set<() => void>()
  #opened = false
  #taken = 0
  #overran = false

  constructor(context: unknown, buffer: number, allowOverruns: boolean) {
    this.#context = context as AnyContext
    this.buffer = buffer
    this.allowOverruns = allowOverruns
  }

  get length(): number {
    return this.#items.length - this.#head
  }

  /** Does a task wait here, for an item or for space? */
  get waiting(): boolean {
    return this.#taker !== undefined || this.#space.size > 0
  }

  put(value: unknown): void {
    if (this.#ended) {
      this.dropped++
      return
    }
    const taker = this.#taker
    if (taker) {
      this.#taker = undefined
      this.#tookOne()
      taker.resolve(value)
      return
    }
    if (!this.#hasRoom()) return
    this.#items.push(value)
  }

  /** A sender keeps to its credit, unless we have not opened our end for too long; that is an overrun. */
  #hasRoom(): boolean {
    const limit = this.allowOverruns ? this.buffer + LIMITS.overflow : this.buffer
    if (this.length < limit) return true
    if (this.allowOverruns) {
      log('warning', `the overflow queue of ${this.#context.label} is full: the newest item is dropped`)
      return false
    }
    if (!this.#overran && !this.#context.cancelCalled) this.#context.overrun()
    this.#overran = true
    return false
  }

  /** The next item. Rejects with the error of the far side, or with {@link endOfStream}. */
  take(): Promise<unknown> {
    if (this.length > 0) {
      const value = this.#items[this.#head]
      this.#items[this.#head++] = undefined
      if (this.#head === this.#items.length) {
        this.#items = []
        this.#head = 0
      } else if (this.#head > 1024) {
        this.#items = this.#items.slice(this.#head)
        this.#head = 0
      }
      this.#tookOne()
      return Promise.resolve(value)
    }
    if (this.#hasError) return Promise.reject(this.#error)
    if (this.#ended) return Promise.reject(this.endOfStream)
    if (this.#taker) {
      return Promise.reject(new RuntimeFailure(`two tasks receive from ${this.#context.label} at once`))
    }
    return park(
      { reason: 'stream item', on: this.#context.label, by: this.#context.peer.aid.name },
      (resolve, reject) => {
        this.#taker = { resolve, reject }
        return () => {
          this.#taker = undefined
        }
      },
    )
  }

  /** Opens our end: the sender may fill our buffer from now on as often as we empty it. */
  open(): void {
    this.#opened = true
    this.#context.peer.reply([Msg.grant, this.#context.cid, this.#taken])
    this.#taken = 0
  }

  #tookOne(): void {
    this.#taken++
    if (!this.#opened || this.#taken < this.buffer / 2) return
    this.#context.peer.reply([Msg.grant, this.#context.cid, this.#taken])
    this.#taken = 0
  }

  /** The far side takes `count` items more; its first grant says that it has opened its end, a negative one that it left. */
  grant(count: number): void {
    if (count < 0) {
      this.refuse()
      return
    }
    this.#peerOpened = true
    this.#credit += count
    if (this.#credit > 0) this.#wakeSender()
  }

  #wakeSender(): void {
    for (const wake of [...this.#space]) wake()
  }

  setCredit(count: number): void {
    this.#credit = count
  }

  /** Has the far side room for one more? Takes it if so. */
  takeCredit(): boolean {
    if (this.#credit <= 0) return false
    this.#credit--
    return true
  }

  /** What was to be sent cannot be: the far side has room for another. */
  giveBack(): void {
    this.#credit++
    this.#wakeSender()
  }

  /**
   * Waits for room, and takes it. When the far side does not open its end in time, the item goes out all the same, and it complains.
   *
   * @returns whether room was taken
   */
  async space(): Promise<boolean> {
    while (!this.takeCredit()) {
      this.check()
      const late = await this.#untilRoom()
      if (late && !this.#peerOpened) return false
    }
    return true
  }

  /** @returns true when the far side has not opened its end in time */
  #untilRoom(): Promise<boolean> {
    const { label, peer } = this.#context
    return park<boolean>({ reason: 'stream space', on: label, by: peer.aid.name }, (resolve) => {
      let inTime: (() => void) | undefined
      const leave = (): void => {
        this.#space.delete(wake)
        inTime?.()
      }
      const wake = (): void => {
        leave()
        resolve(false)
      }
      this.#space.add(wake)
      if (!this.#peerOpened) {
        inTime = lateAfter(peer.actor.vars.deadlines.streamOpen, () => {
          leave()
          resolve(true)
        })
      }
      return leave
    })
  }

  /** @throws what makes sending pointless: the remote error, or that the far side has left its stream */
  check(): void {
    if (this.#hasError) throw this.#error
    if (this.#refused) throw this.endOfStream
  }

  /** Calls back when the far side fails; a task that waits for that waits here. @returns takes it back */
  onFailure(callback: (error: unknown) => void): () => void {
    const look = (): void => {
      if (!this.#hasError) return
      this.#space.delete(look)
      callback(this.#error)
    }
    this.#space.add(look)
    return () => this.#space.delete(look)
  }

  /** The far side sends no more. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#taker?.reject(this.endOfStream)
    this.#taker = undefined
  }

  /** The far side takes no more. */
  refuse(): void {
    this.#refused = true
    this.#wakeSender()
  }

  fail(error: unknown): void {
    if (this.#hasError) return
    this.#hasError = true
    this.#error = error
    this.#taker?.reject(error)
    this.#taker = undefined
    this.#wakeSender()
  }
}

/**
 * The stream of one end of a context. Async-iterable: the iteration ends when the other side has ended its half.
 *
 * @typeParam Sends items that this side sends
 * @typeParam Receives items that this side receives
 */
export class Stream<Sends = unknown, Receives = unknown> implements AsyncIterable<Receives> {
  readonly #context: AnyContext
  readonly #mailbox: Mailbox
  #ended = false
  #closed = false

  /** @internal */
  constructor(context: AnyContext, options: StreamOptions) {
    this.#context = context
    this.#mailbox = context.mailbox
    if (options.allowOverruns !== undefined) this.#mailbox.allowOverruns = options.allowOverruns
    this.#mailbox.open()
  }

  /**
   * Sends one item. Settles when the receiver has room for it and the channel has taken it.
   *
   * @throws the error of the far side; {@link EndOfStream} when it has left its stream, or when this side has ended;
   * TransportClosed; MsgTypeError for a value that cannot travel
   */
  async send(item: Sends): Promise<void> {
    this.#mailbox.check()
    if (this.#ended) throw this.#mailbox.endOfStream
    const took = this.#mailbox.takeCredit() || (await this.#mailbox.space())
    const { channel } = this.#context.peer
    let hasRoom: boolean
    try {
      this.#mailbox.check()
      hasRoom = channel.send([Msg.yield, this.#context.cid, item])
    } catch (error) {
      if (took) this.#mailbox.giveBack()
      throw error instanceof TransportClosed ? await this.#lost() : error
    }
    if (hasRoom) {
      currentScope().throwIfCancelled()
      return
    }
    await park<void>({ reason: 'stream space', on: this.#context.label, by: 'the channel' }, (resolve, reject) => {
      const stop = this.#mailbox.onFailure(reject)
      const end = (then: () => void): void => {
        stop()
        then()
      }
      channel.drained().then(
        () => end(resolve),
        async () => {
          const error = await this.#lost()
          end(() => reject(error))
        },
      )
      return stop
    })
  }

  /** The channel has broken: the error of the whole context, once it is known how the actor over there has ended. */
  async #lost(): Promise<unknown> {
    const { peer, label } = this.#context
    const loss = await peer.lossFor(label)
    return this.#context.remoteError ?? loss
  }

  /** The next item. @throws EndOfStream, always the same object, after the other side has ended */
  receive(): Promise<Receives> {
    return this.#mailbox.take() as Promise<Receives>
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Receives> {
    for (;;) {
      let item: unknown
      try {
        item = await this.#mailbox.take()
      } catch (error) {
        if (error === this.#mailbox.endOfStream) return
        throw error
      }
      yield item as Receives
    }
  }

  /** Sends no more: the other side's iteration ends when it has taken what is on the way. We may go on receiving. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#context.peer.reply([Msg.stop, this.#context.cid])
  }

  /** Sends and takes no more; the sender over there gets {@link EndOfStream}. The end of `openStream` does it. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#context.ended && this.#context.side === 'parent') return
    this.end()
    this.#context.peer.reply([Msg.grant, this.#context.cid, -1])
  }

  /** On cancel or error no `stop` is sent: the context carries the outcome. @internal */
  abort(): void {
    this.#ended = true
    this.#closed = true
  }
}
