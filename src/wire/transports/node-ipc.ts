/** The channel of `child_process.fork`, with `serialization: 'advanced'`: it carries our frames as bytes and nothing of users'. */
import type { ChildProcess } from 'node:child_process'
import type { TransportClosed } from '../../errors.ts'
import { Splitter } from '../frame.ts'
import type { Transport, TransportEvents } from '../transport.ts'
import { atMost, Closing, closedHere, lost } from './closing.ts'

/** Either end: a child as its parent sees it, or `process` in the child. */
type End = Pick<ChildProcess, 'on' | 'removeListener' | 'send' | 'disconnect' | 'connected'> & {
  channel?: { ref?(): void; unref?(): void } | null
}

/** Tells our messages from those of others that use the same channel. */
const MARK = '$harrow'
const WINDOW_BYTES = 4 * 1024 * 1024
const CLOSE_MS = 500

export class NodeIpcTransport implements Transport {
  readonly kind = 'node-ipc'
  readonly trusted = true
  readonly peer: string
  readonly #end: End
  readonly #closing = new Closing()
  #queue: Uint8Array[] = []
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
    const bytes = (message as { [MARK]?: unknown } | null)?.[MARK]
    if (!(bytes instanceof Uint8Array) || this.#closing.reason) return
    try {
      this.#splitter?.push(bytes)
    } catch (error) {
      this.destroy(lost(this.peer, error))
    }
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
    return this.#pending + this.#queued < WINDOW_BYTES
  }

  /** @internal */
  flush(): void {
    this.#scheduled = false
    const bytes = this.#queued
    if (bytes === 0 || this.#closing.reason) return
    const all = Buffer.concat(this.#queue, bytes)
    this.#queue = []
    this.#queued = 0
    this.#pending += bytes
    this.#end.send?.({ [MARK]: all }, (error: Error | null) => {
      this.#pending -= bytes
      if (error) this.#closing.end(lost(this.peer, error))
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
