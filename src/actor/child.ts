/** One child actor as its nursery sees it, from the request to spawn it until it is reaped. */
import { randomUUID } from 'node:crypto'
import { ActorFailure, MessagingError, RuntimeFailure } from '../errors.ts'
import { park, parkOn } from '../scope/index.ts'
import { heldFor } from '../scope/scope.ts'
import type { ActorHandle, Backend, Exit, SpawnRequest } from '../spawn/backend.ts'
import { formatExit } from '../spawn/exit.ts'
import type { SpawnMethod } from '../spawn/methods.ts'
import { formatAddress } from '../wire/address.ts'
import { acceptPeer } from '../wire/handshake.ts'
import { lateAfter } from '../wire/late.ts'
import { type Aid, Msg, uidOf } from '../wire/messages.ts'
import type { Actor } from './actor.ts'
import { Ladder } from './ladder.ts'
import { log } from './log.ts'
import type { Owned } from './loss.ts'
import { Peer } from './peer.ts'
import type { ChildLink } from './server.ts'
import type { SpawnSpec } from './spec.ts'

export type ChildState = 'booting' | 'running' | 'ending' | 'gone'

/** What a child is made of. */
export interface ChildPlan {
  name: string
  backend: Backend
  /** Everything but the actor's id and the parent's address. */
  request: Omit<SpawnRequest, 'aid' | 'parentAddr'>
  spec: Omit<SpawnSpec, 'parent'>
  uuid?: string
}

export class Child implements Owned {
  readonly actor: Actor
  readonly aid: Aid
  readonly plan: ChildPlan
  state: ChildState = 'booting'
  handle: ActorHandle | undefined
  peer: Peer | undefined
  exit: Exit | undefined
  /** What went wrong without anybody having asked for its end. */
  failure: unknown
  /** It did not end when it was asked, and had to be made to. */
  escalated = false

  readonly #ladder: Ladder
  #stopCalled = false

  constructor(actor: Actor, plan: ChildPlan) {
    this.actor = actor
    this.plan = plan
    this.aid = { name: plan.name, uuid: plan.uuid ?? randomUUID() }
    this.#ladder = new Ladder(this)
  }

  get method(): SpawnMethod {
    return this.plan.backend.method
  }

  /** Somebody has asked for its end: dying is no failure then. */
  get stopCalled(): boolean {
    return this.#stopCalled || (this.peer?.cancelCalled ?? false)
  }

  /** `tally (spawn, pid 4912)` */
  toString(): string {
    return `${this.aid.name} (${this.method}${this.handle ? `, ${this.handle.id}` : ''})`
  }

  get where(): string {
    return this.handle?.id ?? 'not started'
  }

  get ending(): Exit | undefined {
    return this.handle?.poll()
  }

  /** Settles when it has ended, at the latest after `limitMs`. */
  endedWithin(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const inTime = lateAfter(limitMs, resolve)
      void this.handle?.wait().then(() => {
        inTime()
        resolve()
      })
    })
  }

  /** What its end is to whoever waited for it: nothing for one with exit code 0, or that was asked for. */
  get obituary(): Error | undefined {
    const exit = this.ending
    if (!exit || this.stopCalled || isOrderly(exit)) return undefined
    this.#obituary ??= this.#failed(exit)
    return this.#obituary
  }

  #obituary: ActorFailure | undefined

  /**
   * Starts it and waits for its hello, raced against its death on every backend (R-007, R-142). When the scope is cancelled
   * meanwhile, it is killed outright, for it may have no handler yet (R-209).
   *
   * @throws ActorFailure when it dies before, or says nothing in time
   */
  async boot(): Promise<Peer> {
    const { backend, request } = this.plan
    const server = this.actor.server
    const address = server?.addresses[0]
    if (!server || !address) throw new RuntimeFailure(`${this.actor} has no server for its children to dial.`)
    const linked = Promise.withResolvers<ChildLink>()
    linked.promise.catch(() => {})
    const forget = server.expect(this.aid.uuid, linked.resolve)
    // With the address, so that the child knows a registrar that is its parent, and asks it over this link.
    const self = { ...this.actor.aid, addr: formatAddress(address) }
    const spec = this.#spec()
    const handle = backend.spawn({
      ...request,
      aid: this.aid,
      parentAddr: self.addr,
      ahead: { parent: self, spec },
    })
    this.handle = handle
    log('runtime', `${this} starts`)
    if (handle.link) {
      acceptPeer(handle.link, {
        self,
        registrar: this.actor.registry !== undefined,
        limitMs: this.actor.vars.deadlines.handshakeIn,
        // It is there when the child looks for it.
        ahead: [Msg.spec, spec],
      }).then(({ channel, aid }) => linked.resolve({ channel, aid, told: true }), linked.reject)
    }
    try {
      return this.#connect(await this.#greeted(handle, linked.promise))
    } catch (error) {
      await heldFor(() => this.#ladder.run({ hard: true }))
      throw error
    } finally {
      forget()
    }
  }

  #greeted(handle: ActorHandle, linked: Promise<ChildLink>): Promise<ChildLink> {
    const limitMs = this.actor.vars.deadlines.handshakeIn
    return park({ reason: 'actor start', on: this.toString() }, (resolve, reject) => {
      const clear = lateAfter(limitMs, () => {
        reject(this.#failed(undefined, `actor ${this} did not say hello within ${limitMs} ms`))
      })
      linked.then(resolve, (error) => {
        // A broken link is most often the death of the child: its exit says more.
        handle.wait(AbortSignal.timeout(this.actor.vars.deadlines.linkDrain)).then(
          (exit) => reject(this.#failed(exit)),
          () => reject(error),
        )
      })
      handle.wait().then(
        (exit) => {
          clear()
          reject(this.#failed(exit))
        },
        () => {},
      )
      linked.then(clear, clear)
      return clear
    })
  }

  #spec(): SpawnSpec {
    return { ...this.plan.spec, parent: this.actor.aid }
  }

  #connect({ channel, aid, told }: ChildLink): Peer {
    if (aid.uuid !== this.aid.uuid) {
      throw new MessagingError(`${this} says hello as ${aid.name}@${aid.uuid}`)
    }
    const peer = new Peer(this.actor, channel, { ...this.aid, ...aid }, false)
    peer.owned = this
    this.peer = peer
    this.state = 'running'
    if (!told) peer.reply([Msg.spec, this.#spec()])
    peer.start()
    return peer
  }

  /**
   * Waits until it has ended, whoever ends it. When the scope is cancelled, it is asked to end, raced against its exit
   * (R-212).
   */
  async ended(): Promise<Exit> {
    const { handle } = this
    if (!handle) return { code: null, signal: null }
    return await parkOn({ reason: 'child actor', on: this.toString() }, handle.wait())
  }

  /**
   * Ends it: asks, waits, insists; see {@link Ladder}. Never rejects; bounded. Who calls second waits for the same.
   *
   * @param options.hard do not ask
   */
  stop(options: { hard?: boolean } = {}): Promise<void> {
    this.#stopCalled = true
    if (this.state !== 'gone') this.state = 'ending'
    return this.#ladder.run(options)
  }

  /** It has ended: looks at how, breaks its channel, and removes what it left. */
  async reap(exit: Exit): Promise<void> {
    this.exit ??= exit
    const unasked = !this.stopCalled
    if (this.peer) await this.#drain(this.peer)
    this.state = 'gone'
    if (unasked && this.failure === undefined) this.failure = this.#verdict(exit)
    if (this.failure !== undefined || this.escalated) await this.#ladder.endOrphans()
    log('runtime', `${this} has ended: ${formatExit(exit)}`)
  }

  /**
   * What it had sent before it ended is still read, and whoever waits for it is told before the nursery is; then the channel is
   * broken, for one kept open may never close (R-806).
   */
  async #drain(peer: Peer): Promise<void> {
    let inTime: (() => void) | undefined
    const late = new Promise<void>((resolve) => {
      inTime = lateAfter(this.actor.vars.deadlines.linkDrain, resolve)
    })
    await Promise.race([peer.gone, late])
    inTime?.()
    if (peer.connected) peer.destroy(`actor ${this} has ended`)
  }

  #verdict(exit: Exit): unknown {
    if (this.peer?.linkError !== undefined) return this.peer.linkError
    if (isOrderly(exit)) return undefined
    this.#obituary ??= this.#failed(exit)
    return this.#obituary
  }

  #failed(exit: Exit | undefined, message?: string): ActorFailure {
    const phase = this.state === 'booting' ? 'boot' : 'run'
    const output = this.handle?.outputTail() ?? ''
    const how = exit && (exit.error instanceof Error ? exit.error.message : formatExit(exit))
    const text = message ?? `actor ${this} ${phase === 'boot' ? 'died before it said hello' : 'died'}: ${how}`
    return new ActorFailure(
      output ? `${text}\n${indent(output)}` : text,
      {
        uid: uidOf(this.aid),
        backend: this.method,
        exitCode: exit?.code ?? null,
        signal: exit?.signal ?? null,
        output,
        phase,
        ...(this.handle && { where: this.handle.id }),
      },
      exit?.error === undefined ? undefined : { cause: exit.error },
    )
  }
}

const isOrderly = (exit: Exit): boolean => exit.error === undefined && exit.code === 0

function indent(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n')
}
