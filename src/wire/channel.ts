/** Messages over any transport, in order. */
import { TransportClosed } from '../errors.ts'
import { Decoder, Encoder } from './codec.ts'
import type { Message } from './messages.ts'
import type { Transport } from './transport.ts'

/** So many frames that cannot be decoded are skipped; the next one breaks the channel. */
const TOLERATED = 4

export class Channel {
  readonly transport: Transport
  /** Frames that could not be decoded. */
  badFrames = 0
  /** Told of each of them. */
  onBadFrame: ((error: unknown) => void) | undefined

  readonly #encoder = new Encoder()
  readonly #decoder = new Decoder()
  #onMessage: ((message: Message) => void) | undefined
  #onClosed: ((reason: TransportClosed) => void) | undefined
  /** What came before anybody listened. */
  #early: Message[] = []
  /** So many more frames are of somebody who has proved nothing yet. */
  #strange: number
  /** What came behind those: nothing of it is looked at before the peer is known. */
  #held: [bytes: Uint8Array, from: number, to: number][] | undefined
  #closed: TransportClosed | undefined

  /**
   * @param strange so many frames come before the peer has proved who it is: they are short and plain, and what comes behind them waits
   * for {@link admit}
   */
  constructor(transport: Transport, strange = 0) {
    this.transport = transport
    this.#strange = strange
    this.#held = strange > 0 ? [] : undefined
    transport.start({
      strange,
      frame: (bytes, from, to) => this.#frame(bytes, from, to),
      closed: (reason) => {
        this.#closed ??= reason
        this.#onClosed?.(reason)
      },
    })
  }

  get closed(): TransportClosed | undefined {
    return this.#closed ?? this.transport.closed
  }

  /**
   * Takes messages from now on, those first that have come already.
   *
   * @param onClosed called once, after the last message
   */
  start(onMessage: (message: Message) => void, onClosed: (reason: TransportClosed) => void): void {
    this.#onMessage = onMessage
    this.#onClosed = onClosed
    const early = this.#early
    this.#early = []
    for (const message of early) this.#onMessage(message)
    if (this.#closed) onClosed(this.#closed)
  }

  /** The next message that comes before {@link start}; for handshakes. Rejects when the channel closes. @internal */
  next(): Promise<Message> {
    const message = this.#early.shift()
    if (message) return Promise.resolve(message)
    if (this.closed) return Promise.reject(this.closed)
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.#onMessage = undefined
        this.#onClosed = undefined
      }
      this.#onMessage = (first) => {
        stop()
        resolve(first)
      }
      this.#onClosed = (reason) => {
        stop()
        reject(reason)
      }
    })
  }

  /** The peer has proved who it is. @internal */
  admit(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const [bytes, from, to] of held) if (!this.#closed) this.#frame(bytes, from, to)
  }

  #frame(bytes: Uint8Array, from: number, to: number): void {
    const isStrange = this.#strange > 0
    if (isStrange) this.#strange--
    else if (this.#held) {
      this.#held.push([bytes, from, to])
      return
    }
    let message: Message
    try {
      message = this.#decoder.decode(bytes, from, to, isStrange)
    } catch (error) {
      this.badFrames++
      this.onBadFrame?.(error)
      if (this.badFrames > TOLERATED) {
        this.destroy(
          new TransportClosed(`${this.transport.peer} sent ${this.badFrames} frames that cannot be decoded`, {
            by: 'local',
            cause: error,
            logLevel: 'error',
          }),
        )
      }
      return
    }
    if (this.#onMessage) this.#onMessage(message)
    else this.#early.push(message)
  }

  /**
   * @returns false when the receiver is behind; see {@link drained}
   * @throws MsgTypeError for a value that cannot travel; TransportClosed
   */
  send(message: Message): boolean {
    if (this.#closed) throw this.#closed
    return this.transport.send(this.#encoder.encode(message))
  }

  drained(): Promise<void> {
    return this.transport.drained()
  }

  close(limitMs?: number): Promise<void> {
    return this.transport.close(limitMs)
  }

  /** See {@link Transport.leave}. */
  leave(): boolean {
    return this.transport.leave()
  }

  destroy(reason?: TransportClosed): void {
    this.transport.destroy(reason)
  }
}
