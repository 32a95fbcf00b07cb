import type { TransportClosed } from '../errors.ts'
import { Parked, type Scope } from '../scope/index.ts'
import type { Dialog, Peer } from './peer.ts'

/** A call of a function whose result is on its way; the caller's wait and our half of the dialog in one. */
export class PendingCall extends Parked<unknown> implements Dialog {
  /** 0 until it is sent. */
  cid = 0
  readonly #peer: Peer

  constructor(
    peer: Peer,
    name: string,
    scope: Scope,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    super(scope, 'call reply', name, peer.aid.name, resolve, reject)
    this.#peer = peer
  }

  get label(): string {
    return `call ${this.#peer.aid.name}.${this.on}`
  }

  returned(value: unknown): void {
    this.succeed(value)
  }

  failed(error: unknown): void {
    this.fail(error)
  }

  lost(reason: TransportClosed): void {
    this.fail(reason)
  }

  /** Cancelling the caller cancels the task there and waits for its end, bounded. */
  override disarm(): unknown {
    return this.cid === 0 ? undefined : this.#peer.cancelTask(this.cid)
  }
}
