/** Two ends in one process. Frames are delivered in a later turn, as by any other transport. */

import type { TransportClosed } from '../../errors.ts'
import { setTurn } from '../../process/clean.ts'
import { LENGTH_BYTES } from '../frame.ts'
import type { Transport, TransportEvents } from '../transport.ts'
import { Closing, closedHere, lost } from './closing.ts'

class MemoryTransport implements Transport {
  readonly kind = 'memory'
  readonly trusted = true
  readonly peer: string
  other: MemoryTransport | undefined
  readonly #closing = new Closing()
  #events: TransportEvents | undefined
  #inbox: Uint8Array[] = []
  #scheduled = false

  constructor(peer: string) {
    this.peer = peer
  }

  get closed(): TransportClosed | undefined {
    return this.#closing.reason
  }

  start(events: TransportEvents): void {
    this.#events = events
    this.#closing.listen((reason) => events.closed(reason))
    if (this.#inbox.length > 0) this.#schedule()
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#closing.reason) throw this.#closing.reason
    // A copy: the sender's buffers must not be the receiver's.
    this.other?.take(Buffer.concat(parts))
    return true
  }

  take(frame: Uint8Array): void {
    this.#inbox.push(frame)
    if (this.#events) this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setTurn(() => this.deliver())
  }

  deliver(): void {
    this.#scheduled = false
    for (const frame of this.#inbox.splice(0)) {
      if (!this.#closing.reason) this.#events?.frame(frame, LENGTH_BYTES, frame.length)
    }
  }

  drained(): Promise<void> {
    return this.#closing.reason ? Promise.reject(this.#closing.reason) : Promise.resolve()
  }

  async close(): Promise<void> {
    if (this.#closing.reason) return
    await new Promise((resolve) => setTurn(resolve))
    this.destroy()
  }

  leave(): boolean {
    return false
  }

  destroy(reason = closedHere(this.peer)): void {
    if (!this.#closing.end(reason)) return
    const { other } = this
    setTurn(() => other?.lost())
  }

  lost(): void {
    this.deliver()
    this.#closing.end(lost(this.peer))
  }

  ref(): void {}
}

/** @param name of what talks through it, for messages */
export function memoryPair(name: string): [Transport, Transport] {
  const a = new MemoryTransport(name)
  const b = new MemoryTransport(name)
  a.other = b
  b.other = a
  return [a, b]
}
