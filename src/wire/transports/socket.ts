/** Unix sockets and TCP. */
import type { Socket } from 'node:net'
import type { TransportClosed } from '../../errors.ts'
import { EAGER_BYTES, EAGER_PARTS, MAX_FRAME_BYTES, Splitter } from '../frame.ts'
import type { Intake } from '../intake.ts'
import { afterReading } from '../late.ts'
import type { Transport, TransportEvents } from '../transport.ts'
import { atMost, Closing, closedHere, lost } from './closing.ts'

/** Small frames of a turn are copied into one buffer; larger ones go out as they are. */
const SMALL_BYTES = 4096
const CLOSE_MS = 500
/** Of reading on after an error; libuv takes up to 2 MB in each. */
const MOST_ROUNDS = 64

export class SocketTransport implements Transport {
  readonly kind: 'uds' | 'tcp'
  readonly peer: string
  readonly trusted: boolean
  readonly #socket: Socket
  readonly #closing = new Closing()
  /** Where the socket reads to, when it was made with one. */
  readonly #intake: Intake | undefined
  #splitter: Splitter | undefined
  #queue: Uint8Array[] = []
  #queued = 0
  #scheduled = false
  #ending = false

  /** @param intake the `onread` that the socket was made with belongs to it */
  constructor(socket: Socket, kind: 'uds' | 'tcp', peer: string, intake?: Intake) {
    this.#socket = socket
    this.#intake = intake
    this.kind = kind
    this.peer = peer
    this.trusted = kind === 'uds'
    if (kind === 'tcp') socket.setNoDelay(true)
    // Until somebody reads, nothing is: the bytes stay in the kernel, where they are bounded.
    readOnAfterError(socket)
    socket.on('error', (error) => this.#failed(error))
    socket.on('close', () => this.#end(this.#ending ? closedHere(peer) : lost(peer, undefined, this.#partial)))
    socket.on('drain', () => this.#closing.room())
  }

  get closed(): TransportClosed | undefined {
    return this.#closing.reason
  }

  start(events: TransportEvents): void {
    const splitter = new Splitter(
      (bytes, from, to) => {
        if (!this.#closing.reason) events.frame(bytes, from, to)
      },
      MAX_FRAME_BYTES,
      events.strange,
    )
    this.#splitter = splitter
    this.#closing.listen((reason) => events.closed(reason))
    const garbage = (error: unknown): void => this.destroy(lost(this.peer, error))
    if (this.#intake) {
      this.#intake.start(splitter, garbage)
      this.#socket.resume()
    } else {
      this.#socket.on('data', (chunk: Buffer) => {
        try {
          splitter.push(chunk)
        } catch (error) {
          garbage(error)
        }
      })
    }
    // Its half is closed: nothing more comes, and nobody reads what we would write.
    this.#socket.on('end', () => {
      this.#end(this.#ending ? closedHere(this.peer) : lost(this.peer, undefined, this.#partial))
      this.#socket.destroy()
    })
  }

  get #partial(): boolean | undefined {
    return this.#intake ? this.#intake.partial : this.#splitter?.partial
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#closing.reason) throw this.#closing.reason
    for (const part of parts) {
      this.#queue.push(part)
      this.#queued += part.length
    }
    if (this.#queue.length >= EAGER_PARTS || this.#queued >= EAGER_BYTES) this.flush()
    else if (!this.#scheduled) {
      this.#scheduled = true
      process.nextTick(flush, this)
    }
    return !this.#socket.writableNeedDrain
  }

  /** @internal */
  flush(): void {
    this.#scheduled = false
    const queue = this.#queue
    if (queue.length === 0 || this.#closing.reason) return
    this.#queue = []
    this.#queued = 0
    if (queue.length === 1) {
      this.#socket.write(queue[0]!)
      return
    }
    this.#socket.cork()
    let from = 0
    while (from < queue.length) {
      let to = from
      let bytes = 0
      while (to < queue.length && queue[to]!.length < SMALL_BYTES) bytes += queue[to++]!.length
      if (to - from > 1) this.#socket.write(join(queue, from, to, bytes))
      else if (to - from === 1) this.#socket.write(queue[from]!)
      if (to < queue.length) this.#socket.write(queue[to++]!)
      from = to
    }
    this.#socket.uncork()
  }

  drained(): Promise<void> {
    if (this.#closing.reason) return Promise.reject(this.#closing.reason)
    return this.#socket.writableNeedDrain ? this.#closing.wait() : Promise.resolve()
  }

  async close(limitMs = CLOSE_MS): Promise<void> {
    if (this.#closing.reason) return
    this.flush()
    this.#ending = true
    const written = new Promise<void>((resolve) => this.#socket.end(resolve))
    // What a Unix socket has taken is read by the peer whatever becomes of us; with TCP a reset can overtake it, so there the
    // peer answers the end of our half with that of its own.
    await atMost(this.kind === 'uds' ? Promise.race([written, this.#closing.settled]) : this.#closing.settled, limitMs)
    this.destroy()
  }

  leave(): boolean {
    this.flush()
    return this.kind === 'uds' && this.#socket.writableLength === 0
  }

  destroy(reason = closedHere(this.peer)): void {
    this.#end(reason)
    this.#socket.destroy()
  }

  ref(on: boolean): void {
    if (on) this.#socket.ref()
    else this.#socket.unref()
  }

  /** A write that finds the peer gone must not take away what it had sent before: that is read first. */
  #failed(error: Error, rounds = MOST_ROUNDS): void {
    if (this.#closing.reason) return
    const read = this.#socket.bytesRead
    afterReading(() => {
      if (this.#socket.bytesRead > read && rounds > 0) this.#failed(error, rounds - 1)
      else this.destroy(lost(this.peer, error, this.#partial))
    })
  }

  #end(reason: TransportClosed): void {
    this.#queue = []
    this.#queued = 0
    this.#closing.end(reason)
  }
}

/**
 * Node closes a socket at an error, and with it what has arrived and is not read; where it is told not to, it reads and gives
 * nothing out any more, until the error is taken back.
 */
function readOnAfterError(socket: Socket): void {
  const { _readableState: reading, _writableState: writing } = socket as Socket & {
    _readableState?: { autoDestroy: boolean; errored: unknown }
    _writableState?: { autoDestroy: boolean }
  }
  if (!reading || !writing) return
  reading.autoDestroy = false
  writing.autoDestroy = false
  socket.on('error', () => {
    reading.errored = null
  })
}

function join(queue: readonly Uint8Array[], from: number, to: number, bytes: number): Buffer {
  const all = Buffer.allocUnsafe(bytes)
  let at = 0
  for (let i = from; i < to; i++) {
    const part = queue[i]!
    all.set(part, at)
    at += part.length
  }
  return all
}

/** After all microtasks of the turn: what they send goes out together. */
function flush(transport: SocketTransport): void {
  transport.flush()
}
