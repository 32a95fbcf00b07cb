/** Message ports between threads. They have no back-pressure of their own: bytes are counted, and the receiver confirms them. */
import type { MessagePort } from 'node:worker_threads'
import type { TransportClosed } from '../../errors.ts'
import { Splitter } from '../frame.ts'
import type { Transport, TransportEvents } from '../transport.ts'
import { atMost, Closing, closedHere, lost } from './closing.ts'

/** So much may be on its way. */
const WINDOW_BYTES = 4 * 1024 * 1024
const CONFIRM_BYTES = WINDOW_BYTES / 4
const CLOSE_MS = 500
/** From this size on bytes are handed over instead of being copied twice. */
const TRANSFER_BYTES = 8192

export class PortTransport implements Transport {
  readonly kind = 'port'
  readonly trusted = true
  readonly peer: string
  readonly #port: MessagePort
  readonly #closing = new Closing()
  #queue: Uint8Array[] = []
  #queued = 0
  #scheduled = false
  #unconfirmed = 0
  #received = 0

  constructor(port: MessagePort, peer: string) {
    this.#port = port
    this.peer = peer
    port.on('close', () => this.#closing.end(lost(peer)))
    port.on('messageerror', (error) => this.destroy(lost(peer, error)))
  }

  get closed(): TransportClosed | undefined {
    return this.#closing.reason
  }

  start(events: TransportEvents): void {
    const splitter = new Splitter((bytes, from, to) => {
      if (!this.#closing.reason) events.frame(bytes, from, to)
    })
    this.#closing.listen((reason) => events.closed(reason))
    this.#port.on('message', (message: unknown) => {
      if (this.#closing.reason) return
      if (typeof message === 'number') {
        this.#unconfirmed -= message
        if (this.#unconfirmed < WINDOW_BYTES) this.#closing.room()
      } else if (message instanceof Uint8Array) {
        this.#received += message.length
        if (this.#received >= CONFIRM_BYTES) {
          this.#port.postMessage(this.#received)
          this.#received = 0
        }
        try {
          splitter.push(message)
        } catch (error) {
          this.destroy(lost(this.peer, error))
        }
      } else if (message === null) {
        // The other side says goodbye; its port may stay open for as long as its thread is stuck.
        this.#closing.end(lost(this.peer))
        this.#port.close()
      }
    })
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#closing.reason) throw this.#closing.reason
    for (const part of parts) {
      this.#queue.push(part)
      this.#queued += part.length
    }
    if (!this.#scheduled) {
      this.#scheduled = true
      process.nextTick(flush, this)
    }
    return this.#unconfirmed + this.#queued < WINDOW_BYTES
  }

  /** @internal */
  flush(): void {
    this.#scheduled = false
    const bytes = this.#queued
    if (bytes === 0 || this.#closing.reason) return
    // A buffer of its own, exactly as long: a view would be cloned with all that lies behind it.
    const all = new Uint8Array(bytes)
    let at = 0
    for (const part of this.#queue) {
      all.set(part, at)
      at += part.length
    }
    this.#queue = []
    this.#queued = 0
    this.#unconfirmed += bytes
    if (bytes >= TRANSFER_BYTES) this.#port.postMessage(all, [all.buffer])
    else this.#port.postMessage(all)
  }

  drained(): Promise<void> {
    if (this.#closing.reason) return Promise.reject(this.#closing.reason)
    return this.#unconfirmed + this.#queued < WINDOW_BYTES ? Promise.resolve() : this.#closing.wait()
  }

  async close(limitMs = CLOSE_MS): Promise<void> {
    if (this.#closing.reason) return
    this.flush()
    this.#port.postMessage(null)
    this.#port.close()
    await atMost(this.#closing.settled, limitMs)
    this.destroy()
  }

  leave(): boolean {
    return false
  }

  destroy(reason = closedHere(this.peer)): void {
    if (!this.#closing.end(reason)) return
    this.#queue = []
    this.#queued = 0
    this.#port.close()
  }

  ref(on: boolean): void {
    if (on) this.#port.ref()
    else this.#port.unref()
  }
}

function flush(transport: PortTransport): void {
  transport.flush()
}
