import type { TransportClosed } from '../errors.ts'
import type { Dialog, Peer } from './peer.ts'

/** A call of a function whose result is on its way. */
export class PendingCall implements Dialog {
  readonly #peer: Peer
  readonly #name: string
  readonly returned: (value: unknown) => void
  readonly failed: (error: unknown) => void

  constructor(peer: Peer, name: string, resolve: (value: unknown) => void, reject: (error: unknown) => void) {
    this.#peer = peer
    this.#name = name
    this.returned = resolve
    this.failed = reject
  }

  get label(): string {
    return `call ${this.#peer.aid.name}.${this.#name}`
  }

  lost(reason: TransportClosed): void {
    this.failed(reason)
  }
}
