import type { TransportClosed } from '../errors.ts'
import { Parked, type Scope } from '../scope/index.ts'
import { siteStack } from '../scope/sites.ts'
import { setFrames } from '../wire/remote-error.ts'
import type { Dialog, Peer } from './peer.ts'

/** A call of a function whose result is on its way; the caller's wait and our half of the dialog in one. */
export class PendingCall extends Parked<unknown> implements Dialog {
  /** 0 until it is sent. */
  cid = 0
  readonly #peer: Peer
  readonly #site: object | undefined

  constructor(
    peer: Peer,
    name: string,
    scope: Scope,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
    site: object | undefined,
  ) {
    super(scope, 'call reply', name, peer.aid.name, resolve, reject)
    this.#peer = peer
    this.#site = site
  }

  get label(): string {
    return `call ${this.#peer.aid.name}.${this.on}`
  }

  returned(value: unknown): void {
    this.succeed(value)
  }

  failed(error: unknown): void {
    fromSite(error, this.#site)
    this.fail(error)
  }

  lost(reason: TransportClosed): void {
    fromSite(reason, this.#site)
    this.fail(reason)
  }

  /** Cancelling the caller cancels the task there and waits for its end, bounded. */
  override disarm(): unknown {
    return this.cid === 0 ? undefined : this.#peer.cancelTask(this.cid)
  }
}

/** Gives an error from another actor, or of the way there, the stack of whoever called there, where that was noted. */
export function fromSite(error: unknown, site: object | undefined): void {
  if (!(error instanceof Error) || site === undefined) return
  const lines = siteStack(site)
  if (lines) setFrames(error, lines)
}
