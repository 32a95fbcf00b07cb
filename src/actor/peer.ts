/** One connected actor: its channel, what we have asked of it, and what it has asked of us. */
import { MessagingError, TransportClosed, type Uid } from '../errors.ts'
import { currentScope } from '../scope/index.ts'
import type { Channel } from '../wire/channel.ts'
import { lateAfter } from '../wire/late.ts'
import { type Aid, type Kind, type Message, Msg, type StartOptions, uidOf } from '../wire/messages.ts'
import { unpackError } from '../wire/remote-error.ts'
import type { Actor } from './actor.ts'
import { log } from './log.ts'
import { lossOf, type Owned } from './loss.ts'
import { NumberMap } from './number-map.ts'
import { PendingCall } from './pending-call.ts'

/** Our half of something that was started over a channel; the other half is in the peer, or the other way round. */
export interface Dialog {
  /** For people: `call tally.add`, `context tally.counter`. */
  readonly label: string
  started?(value: unknown): void
  item?(value: unknown): void
  stop?(): void
  granted?(count: number): void
  /** The last message of a dialog; it is taken from the table before. */
  returned(value: unknown): void
  failed(error: unknown): void
  /** Nothing will come any more. */
  lost(reason: TransportClosed): void
}

/** The half of a dialog that runs here because the peer asked for it. */
export interface Served {
  readonly label: string
  cancelBy(by: Uid): void
  item?(value: unknown): void
  stop?(): void
  granted?(count: number): void
  failed?(error: unknown): void
  /** Settles when the task is over and its last message is on its way. */
  readonly ended: Promise<void>
  lost(): void
}

interface CancelRequest {
  acked(): void
  pending(): void
  lost(): void
}

const MOST_WARNED = 100
/** So long those that wait may be kept from hearing that a channel broke, for how its actor ended. */
const FATE_MS = 100

/** A call whose result nobody wants. */
class Unheard implements Dialog {
  readonly label: string

  constructor(name: string) {
    this.label = `self.${name}`
  }

  returned(): void {}

  failed(): void {}

  lost(): void {}
}

export class Peer {
  readonly actor: Actor
  readonly channel: Channel
  readonly aid: Aid
  /** What we started there, by number. */
  readonly asked = new NumberMap<Dialog>()
  /** What the peer started here, by number. */
  readonly served = new NumberMap<Served>()
  /** We have asked this actor to end. */
  cancelCalled = false
  /** An error of the whole link; every later call throws it. */
  linkError: unknown
  /** Users of a connection that discovery has made. */
  users = 0
  /** The actor is a child of ours. */
  owned: Owned | undefined
  /** Discovery has made the connection: it is closed when nobody uses it. Links and what others have dialled are not its own. */
  ofDiscovery = false

  readonly #requests = new Map<number, CancelRequest>()
  readonly #parity: 0 | 1
  #next: number
  #requestNumber = 0
  readonly #closed = Promise.withResolvers<void>()
  #isClosed = false
  /** Why, once those that waited have been told. */
  #told: TransportClosed | undefined
  /** It is on its way to its end: nobody is to begin anything on it. */
  #closing = false

  /**
   * @param dialled we made the connection: our numbers are odd then
   */
  constructor(actor: Actor, channel: Channel, aid: Aid, dialled: boolean) {
    this.actor = actor
    this.channel = channel
    this.aid = aid
    this.#parity = dialled ? 1 : 0
    this.#next = dialled ? -1 : 0
    actor.peers.add(this)
  }

  get uid(): Uid {
    return uidOf(this.aid)
  }

  get connected(): boolean {
    return !this.#closing && !this.#isClosed && this.channel.closed === undefined
  }

  /** Settles when the channel is closed and everything that waited on it has been told. */
  get gone(): Promise<void> {
    return this.#closed.promise
  }

  /** Begins to read. */
  start(): void {
    this.channel.start(
      (message) => this.receive(message),
      (reason) => this.end(reason),
    )
  }

  /**
   * @param during what is about to begin on it
   * @throws the error of the link, or TransportClosed
   */
  check(during: string): void {
    if (this.linkError !== undefined) throw this.linkError
    if (this.#isClosed || this.channel.closed) throw this.#loss(during)
  }

  /** What ends something on a channel that has broken; known once how its actor ended is, if that is to be known at all. */
  async lossFor(during: string): Promise<unknown> {
    await this.gone
    return this.linkError ?? this.#loss(during)
  }

  #loss(during: string): TransportClosed {
    const reason = this.#told ?? this.channel.closed ?? new TransportClosed('it was closed', { by: 'unknown' })
    return lossOf(this.aid, during, reason, this.owned)
  }

  // ---- what we ask

  /** Calls a function there. Cancelling the caller's scope cancels the task there and waits for its end, bounded. */
  call(module: string, name: string, args: unknown[], site?: object): Promise<unknown> {
    const scope = currentScope()
    if (scope.reason !== undefined) return Promise.reject(scope.reason)
    return new Promise((resolve, reject) => {
      const call = new PendingCall(this, name, scope, resolve, reject, site)
      try {
        call.cid = this.open(call, module, name, args, 'func', null)
      } catch (error) {
        call.fail(error)
      }
    })
  }

  /** Calls a method of the runtime over there; nobody waits for it, and a closed channel is no error. */
  tell(name: string, args: unknown[]): void {
    try {
      this.open(new Unheard(name), 'self', name, args, 'func', null)
    } catch (error) {
      if (!(error instanceof TransportClosed)) throw error
    }
  }

  /** Starts something there. @returns its number */
  open(
    dialog: Dialog,
    module: string,
    name: string,
    args: unknown[],
    kind: Kind,
    options: StartOptions | null,
  ): number {
    // Broken, and how its actor ended is not known yet: it hears of that together with the others.
    const early = this.#isClosed && this.#told === undefined && this.linkError === undefined
    if (!early) this.check(dialog.label)
    this.#next += 2
    const cid = this.#next
    if (!early) this.channel.send([Msg.start, cid, module, name, args, kind, options])
    this.asked.set(cid, dialog)
    return cid
  }

  /**
   * Asks to cancel one task that we started, and waits until it has ended, at most `ctxCancel`.
   * @returns false when no answer came
   */
  cancelTask(cid: number): Promise<boolean> {
    const dialog = this.asked.get(cid)
    if (!dialog || !this.connected) return Promise.resolve(false)
    this.channel.send([Msg.cancel, cid])
    return new Promise((resolve) => {
      const inTime = lateAfter(this.actor.vars.deadlines.ctxCancel, () => done(false))
      const done = (acked: boolean): void => {
        inTime()
        this.#cancels.delete(cid)
        if (this.asked.get(cid) instanceof PendingCall) this.asked.delete(cid)
        resolve(acked)
      }
      this.#cancels.set(cid, done)
    })
  }

  readonly #cancels = new Map<number, (acked: boolean) => void>()

  /**
   * Asks the actor to end.
   *
   * @param limitMs wait for the acknowledgement
   * @param budgetMs wait for it when the actor says that it has actors below it to end first
   * @returns `acked`, `late`, or `lost` when the channel closed before
   */
  cancelActor(limitMs: number, budgetMs: number): Promise<'acked' | 'late' | 'lost'> {
    if (!this.connected) return Promise.resolve('lost')
    this.cancelCalled = true
    const id = ++this.#requestNumber
    return new Promise((resolve) => {
      let inTime = lateAfter(limitMs, () => done('late'))
      const done = (how: 'acked' | 'late' | 'lost'): void => {
        inTime()
        this.#requests.delete(id)
        resolve(how)
      }
      this.#requests.set(id, {
        acked: () => done('acked'),
        lost: () => done('lost'),
        pending: () => {
          inTime()
          inTime = lateAfter(budgetMs, () => done('late'))
        },
      })
      try {
        this.channel.send([Msg.cancelActor, id, budgetMs])
      } catch {
        done('lost')
      }
    })
  }

  // ---- what comes

  /** Deals with one message. Never throws. */
  receive(message: Message): void {
    switch (message[0]) {
      case Msg.return:
        this.#returned(message[1], message[2])
        break
      case Msg.start:
        this.actor.serve(this, message)
        break
      case Msg.yield:
        this.#half(message[1])?.item?.(message[2])
        break
      case Msg.grant:
        this.#half(message[1])?.granted?.(message[2])
        break
      case Msg.stop:
        this.#half(message[1])?.stop?.()
        break
      case Msg.started:
        this.asked.get(message[1])?.started?.(message[2])
        break
      case Msg.startAck:
        break
      case Msg.error:
        this.#error(message[1], message[2])
        break
      case Msg.cancel:
        this.#cancel(message[1])
        break
      case Msg.cancelAck:
        this.#acked(message[1], message[2])
        break
      case Msg.cancelPending:
        this.#requests.get(message[1])?.pending()
        break
      case Msg.cancelActor:
        this.#cancelActor(message[1], message[2])
        break
      default:
        log('warning', `a message of type ${message[0]} from ${this.aid.name} does not belong here`)
    }
  }

  #returned(cid: number, value: unknown): void {
    const dialog = this.asked.get(cid)
    if (!dialog) {
      this.#late('result', cid)
      return
    }
    this.asked.delete(cid)
    dialog.returned(value)
    this.#cancels.get(cid)?.(true)
  }

  #ours(cid: number): boolean {
    return (cid & 1) === this.#parity
  }

  #half(cid: number): Dialog | Served | undefined {
    return this.#ours(cid) ? this.asked.get(cid) : this.served.get(cid)
  }

  #warned = new Set<number>()

  /** Late messages of dialogs that are over are dropped, with one warning each. */
  #late(what: string, cid: number): void {
    if (this.#warned.has(cid) || this.#warned.size > MOST_WARNED) return
    this.#warned.add(cid)
    log('runtime', `a late ${what} of call ${cid} from ${this.aid.name} was dropped`)
  }

  #error(cid: number, wire: unknown): void {
    const error = unpackError(wire, this.actor.uid)
    if (cid === 0) {
      this.linkError ??= error
      for (const [id, dialog] of this.asked.entries()) {
        this.asked.delete(id)
        dialog.failed(error)
      }
      this.actor.linkFailed(this, error)
      return
    }
    const dialog = this.#half(cid)
    if (!dialog) {
      this.#late('error', cid)
      return
    }
    if (!this.#ours(cid)) {
      dialog.failed?.(error)
      return
    }
    this.asked.delete(cid)
    dialog.failed?.(error)
    this.#cancels.get(cid)?.(true)
  }

  #cancel(cid: number): void {
    const served = this.served.get(cid)
    // Only the channel that started a task may cancel it; one that is over needs no cancelling.
    if (!served) {
      this.reply([Msg.cancelAck, cid])
      return
    }
    served.cancelBy(this.uid)
    void served.ended.then(() => this.reply([Msg.cancelAck, cid]))
  }

  /** `cancelAck` answers both kinds of requests: numbers of tasks are told from those of actors by their sign. */
  #acked(id: number, givenUp?: string[]): void {
    if (Array.isArray(givenUp) && givenUp.length > 0) {
      log(
        'warning',
        `actor ${this.aid.name} gave up tasks that did not react to its cancellation: ${givenUp.join(', ')}`,
      )
    }
    if (id < 0) this.#requests.get(-id)?.acked()
    else this.#cancels.get(id)?.(true)
  }

  #cancelActor(request: number, budgetMs: number): void {
    const { ended, hasChildren } = this.actor.cancelFor(this, budgetMs)
    if (hasChildren) this.reply([Msg.cancelPending, request])
    void ended.then(() => {
      const givenUp = this.actor.service.uncooperative.map((task) => task.name)
      this.reply(givenUp.length === 0 ? [Msg.cancelAck, -request] : [Msg.cancelAck, -request, givenUp])
    })
  }

  /** Sends something that nobody waits for; a closed channel is no error. */
  reply(message: Message): boolean {
    try {
      return this.channel.send(message)
    } catch (error) {
      if (!(error instanceof TransportClosed)) throw error
      const loud = message[0] === Msg.error
      log(
        loud ? 'critical' : 'transport',
        `not sent to ${this.aid.name}, whose channel is closed: message ${message[0]}`,
      )
      return true
    }
  }

  /**
   * The channel is closed: whatever waits is told within the same turn; what waits for a child of ours, when that has ended, at
   * the latest after 100 ms.
   */
  end(reason: TransportClosed): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.actor.peers.delete(this)
    for (const done of [...this.#cancels.values()]) done(false)
    for (const request of [...this.#requests.values()]) request.lost()
    // What this channel has started ends with it, and nothing else does.
    for (const [, served] of this.served.entries()) served.lost()
    log(reason.logLevel === 'error' ? 'warning' : 'transport', `channel to ${this.aid.name}: ${reason.message}`)
    const { owned } = this
    if (owned === undefined || reason.by === 'local' || owned.ending) this.#tell(reason)
    else void owned.endedWithin(FATE_MS).then(() => this.#tell(reason))
    this.actor.peerGone(this, reason)
  }

  #tell(reason: TransportClosed): void {
    this.#told = reason
    for (const [cid, dialog] of this.asked.entries()) {
      this.asked.delete(cid)
      dialog.lost(lossOf(this.aid, dialog.label, reason, this.owned))
    }
    this.#closed.resolve()
  }

  /** Closes in order, or by force after `limitMs`. */
  async close(limitMs: number): Promise<void> {
    this.#closing = true
    await this.channel.close(limitMs)
    this.end(this.channel.closed ?? new TransportClosed('closed', { by: 'local' }))
  }

  /** For a process that is about to exit. @returns false when it has to wait for {@link close} */
  leave(): boolean {
    return this.channel.leave()
  }

  /** One user less; with the last one a connection of discovery is closed. */
  async letGo(): Promise<void> {
    this.users--
    if (this.users <= 0 && this.ofDiscovery) await this.close(this.actor.vars.deadlines.linkDrain)
  }

  /** Breaks the channel at once. */
  destroy(why: string): void {
    const reason = new TransportClosed(why, { by: 'local' })
    this.channel.destroy(reason)
    this.end(reason)
  }

  /** @throws MessagingError for a start whose claimed sender is somebody else */
  checkSender(uuid: string): void {
    if (uuid !== this.aid.uuid) throw new MessagingError(`a message of ${this.aid.name} claims another sender`)
  }
}
