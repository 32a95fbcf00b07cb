/** The contract of everything that carries frames between two actors. */
import type { TransportClosed } from '../errors.ts'

export type TransportKind = 'uds' | 'tcp' | 'port' | 'memory'

export interface TransportEvents {
  /** So many frames at first are of somebody who has proved nothing yet: they must be short. @default 0 */
  strange?: number
  /** One whole frame, without its length: the bytes from `from` up to `to` of a buffer that is not used again. */
  frame(bytes: Uint8Array, from: number, to: number): void
  /** Called once, when no frame will come any more. */
  closed(reason: TransportClosed): void
}

/**
 * An ordered pipe of frames to one peer. Nothing is read before {@link start}. It never throws into its callbacks' stack
 * and never emits after `closed`.
 */
export interface Transport {
  readonly kind: TransportKind
  /** The other end for people: `/run/user/0/harrow/root.12.sock`, `127.0.0.1:4000`, `thread 3`. */
  readonly peer: string
  /** The peer is known to be of the same user by the nature of the transport; false asks for a proof (TCP). */
  readonly trusted: boolean
  /** Set once it is closed. */
  readonly closed: TransportClosed | undefined
  /** Begins to read. Called once. */
  start(events: TransportEvents): void
  /**
   * Queues one frame, given in parts that are not copied and must not change afterwards. All frames of one turn of the event
   * loop go out in one write.
   *
   * @returns false when the receiver is behind: wait for {@link drained} before the next large thing
   * @throws TransportClosed once it is closed
   */
  send(parts: readonly Uint8Array[]): boolean
  /** Settles at once, or when there is room again; rejects with TransportClosed. */
  drained(): Promise<void>
  /** Writes out what is queued, then ends. Settles when it is closed, at the latest after `limitMs`. */
  close(limitMs?: number): Promise<void>
  /**
   * For a process that is about to exit: writes out what is queued.
   *
   * @returns true when the system has all of it, and gives it to the peer whatever becomes of us
   */
  leave(): boolean
  /** Ends at once; what is queued is lost. */
  destroy(reason?: TransportClosed): void
  /** Whether it keeps the event loop alive. */
  ref(on: boolean): void
}
