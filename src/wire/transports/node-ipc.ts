/**
 * The channel of `child_process.fork`, with `serialization: 'advanced'`: it carries our frames and nothing of users'. They go
 * as text, one character a byte: V8 copies that in one go, while Node's serialiser hands each buffer to JavaScript, which
 * cost three times the CPU for 64 KB (DESIGN.md section 8).
 */
import type { ChildProcess } from 'node:child_process'
import type { TransportClosed } from '../../errors.ts'
import { EAGER_BYTES, EAGER_PARTS, Splitter } from '../frame.ts'
import type { Transport, TransportEvents } from '../transport.ts'
import { afterReading, atMost, Closing, closedHere, lost } from './closing.ts'

/** Either end: a child as its parent sees it, or `process` in the child. */
type End = Pick<ChildProcess, 'on' | 'removeListener' | 'send' | 'disconnect' | 'connected'> & {
  channel?: { ref?(): void; unref?(): void } | null
}

/** Tells our messages from those of others that use the same channel. */
const MARK = '$harrow:'
/** More goes in several messages: from 128 KB on, V8 gives a text pages of its own, which costs eight times as much. */
const MOST_BYTES = 96 * 1024
const WINDOW_BYTES = 4 * 1024 * 1024
const CLOSE_MS = 500

export class NodeIpcTransport implements Transport {
  readonly kind = 'node-ipc'
  readonly trusted = true
  readonly peer: string
  readonly #end: End
  readonly #closing = new Closing()
  #queue: (readonly Uint8Array[])[] = []
  #queued = 0
  #scheduled = false
  #pending = 0
  #listener: ((message: unknown) => void) | undefined
  #stash: unknown[] | undefined = []

  constructor(end: End, peer: string) {
    this.#end = end
    this.peer = peer
    end.on('disconnect', () => this.#closing.end(lost(peer)))
    // Node reads as soon as somebody listens, and drops what comes before.
    this.#listener = (message) => {
      if (this.#stash) this.#stash.push(message)
      else this.#take(message)
    }
    end.on('message', this.#listener)
    if (!end.connected) this.#closing.end(lost(peer))
  }

  #splitter: Splitter | undefined

  get closed(): TransportClosed | undefined {
    return this.#closing.reason
  }

  start(events: TransportEvents): void {
    this.#splitter = new Splitter((bytes, from, to) => {
      if (!this.#closing.reason) events.frame(bytes, from, to)
    })
    this.#closing.listen((reason) => events.closed(reason))
    const stash = this.#stash ?? []
    this.#stash = undefined
    for (const message of stash) this.#take(message)
  }

  #take(message: unknown): void {
    if (typeof message !== 'string' || !message.startsWith(MARK) || this.#closing.reason) return
    try {
      this.#splitter?.push(Buffer.from(message, 'latin1').subarray(MARK.length))
    } catch (error) {
      this.destroy(lost(this.peer, error))
    }
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#closing.reason) throw this.#closing.reason
    this.#queue.push(parts)
    for (const part of parts) this.#queued += part.length
    if (this.#queue.length >= EAGER_PARTS || this.#queued >= EAGER_BYTES) this.flush()
    else if (!this.#scheduled) {
      this.#scheduled = true
      process.nextTick(flush, this)
    }
    return this.#pending + this.#queued < WINDOW_BYTES
  }

  /** @internal */
  flush(): void {
    this.#scheduled = false
    const bytes = this.#queued
    if (bytes === 0 || this.#closing.reason) return
    const queue = this.#queue
    this.#queue = []
    this.#queued = 0
    this.#pending += bytes
    let parts: Uint8Array[] = []
    let gathered = 0
    const write = (): void => {
      if (gathered > 0) this.#write(parts, gathered)
      parts = []
      gathered = 0
    }
    for (const frame of queue) {
      // A frame that fits into one message is not cut: the other side would have to join it.
      let length = 0
      for (const part of frame) length += part.length
      if (gathered + length > MOST_BYTES) write()
      for (const part of frame) {
        for (let at = 0; at < part.length; ) {
          const piece =
            at === 0 && part.length <= MOST_BYTES - gathered ? part : part.subarray(at, at + MOST_BYTES - gathered)
          parts.push(piece)
          gathered += piece.length
          at += piece.length
          if (gathered === MOST_BYTES) write()
        }
      }
    }
    write()
  }

  #write(parts: readonly Uint8Array[], bytes: number): void {
    const text = Buffer.allocUnsafe(MARK.length + bytes)
    let at = text.write(MARK, 'latin1')
    for (const part of parts) {
      text.set(part, at)
      at += part.length
    }
    this.#end.send?.(text.toString('latin1'), (error: Error | null) => {
      this.#pending -= bytes
      // What the other side had sent before its end is read first.
      if (error) afterReading(() => this.#closing.end(lost(this.peer, error)))
      else if (this.#pending < WINDOW_BYTES) this.#closing.room()
    })
  }

  drained(): Promise<void> {
    if (this.#closing.reason) return Promise.reject(this.#closing.reason)
    return this.#pending + this.#queued < WINDOW_BYTES ? Promise.resolve() : this.#closing.wait()
  }

  async close(limitMs = CLOSE_MS): Promise<void> {
    if (this.#closing.reason) return
    this.flush()
    const written = new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.#pending === 0 || this.#closing.reason) resolve()
        else setImmediate(look)
      }
      look()
    })
    await atMost(written, limitMs)
    this.destroy()
  }

  destroy(reason = closedHere(this.peer)): void {
    if (!this.#closing.end(reason)) return
    this.#queue = []
    this.#queued = 0
    if (this.#listener) this.#end.removeListener('message', this.#listener)
    if (this.#end.connected) this.#end.disconnect()
  }

  ref(on: boolean): void {
    if (on) this.#end.channel?.ref?.()
    else this.#end.channel?.unref?.()
  }
}

function flush(transport: NodeIpcTransport): void {
  transport.flush()
}
