/** An actor as it sees itself: its identity, what it exposes, who is connected, what it runs, and how it ends. */

import { type CancelledError, ContextCancelled, NoRuntime, type TransportClosed, type Uid } from '../errors.ts'
import { provideActors } from '../inspect/actors.ts'
import { setTurn } from '../process/clean.ts'
import { currentHost, parkOn, type Scope, TaskNursery } from '../scope/index.ts'
import type { SpawnMethod } from '../spawn/methods.ts'
import type { Address } from '../wire/address.ts'
import { type Aid, type Start, uidOf } from '../wire/messages.ts'
import type { Transport } from '../wire/transport.ts'
import { actorTree } from './actor-tree.ts'
import { LifetimeStack } from './lifetime.ts'
import { log } from './log.ts'
import { Modules } from './modules.ts'
import type { ActorNursery } from './nursery.ts'
import type { Peer } from './peer.ts'
import type { Registry } from './registry.ts'
import type { RuntimeVars } from './runtime-vars.ts'
import { serveStart } from './serve.ts'
import type { Server } from './server.ts'

export interface ActorSetup {
  aid: Aid
  /** Backend that made it; `root` for the first one. */
  spawnMethod: SpawnMethod | 'root'
  vars: RuntimeVars
  scope: Scope
  parent?: Aid
  importModule(url: string): Promise<Record<string, unknown>>
}

/** Part of the time for an acknowledgement that a task gets which does not react; the rest is for the message. */
const GRACE_SHARE = 0.7

/** The actor that code runs in; see {@link currentActor}. */
export class Actor {
  readonly aid: Aid
  readonly uid: Uid
  readonly spawnMethod: SpawnMethod | 'root'
  readonly vars: RuntimeVars
  /** Aid of the parent; undefined for a root. */
  readonly parent: Aid | undefined
  /** Callbacks for the end of the runtime, last in first out. */
  readonly lifetimeStack = new LifetimeStack()
  /** Everyone who is connected. @internal */
  readonly peers = new Set<Peer>()
  /** Connections that discovery makes, whose hello has not come yet. @internal */
  readonly dialling = new Set<Transport>()
  /** Actor nurseries that are open. @internal */
  readonly nurseries = new Set<ActorNursery>()
  /** @internal */
  readonly modules: Modules
  /** Scope of everything that runs in this actor. @internal */
  readonly scope: Scope
  /** Tasks that peers have started. @internal */
  readonly service: TaskNursery
  /** Channel to the parent. @internal */
  link: Peer | undefined
  /** @internal */
  server: Server | undefined
  /** What this actor knows as registrar; undefined when it is none. @internal */
  registry: Registry | undefined
  /** Addresses at which it can be dialled. @internal */
  addresses: Address[] = []
  /** Addresses of the parent, for which the link is used. @internal */
  parentAddrs: string[] = []
  /** Labels of this actor and those above it, joined by dots. @internal */
  lineage = ''
  /** Why it ends, once it does. */
  cancelReason: CancelledError | undefined

  readonly #ended = Promise.withResolvers<void>()
  #cancelling: Promise<void> | undefined
  /** How long nurseries below may take to end their actors, milliseconds. @internal */
  nurseryBudgetMs: number

  /** @internal */
  constructor({ aid, spawnMethod, vars, scope, parent, importModule }: ActorSetup) {
    this.aid = aid
    this.uid = uidOf(aid)
    this.spawnMethod = spawnMethod
    this.vars = vars
    this.parent = parent
    this.scope = scope
    scope.setHost(this)
    this.modules = new Modules(importModule)
    this.nurseryBudgetMs = vars.deadlines.nurseryCancel
    const { taskGrace, cancelAck } = vars.deadlines
    this.service = new TaskNursery(scope, {
      name: `${aid.name} service`,
      supervise: 'none',
      graceMs: Math.min(taskGrace, cancelAck * GRACE_SHARE),
    })
  }

  get isRoot(): boolean {
    return this.spawnMethod === 'root'
  }

  /** `actor tally@1f3a… (spawn, pid 4912)` */
  toString(): string {
    const { name, uuid, pid } = this.aid
    return `actor ${name}@${uuid.slice(0, 8)} (${this.spawnMethod}, pid ${pid ?? process.pid})`
  }

  get [Symbol.toStringTag](): string {
    return this.toString()
  }

  /** Settles when the actor has been cancelled and all of its tasks are over. @internal */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** Waits until the actor is cancelled. */
  serving(): Promise<void> {
    return parkOn({ reason: 'event', on: `the end of ${this.aid.name}` }, this.ended)
  }

  get isCancelled(): boolean {
    return this.#cancelling !== undefined
  }

  // ---- what peers start here

  /** @internal */
  serve(peer: Peer, start: Start): void {
    serveStart(this, peer, start)
  }

  /** An error of a whole link: of the parent's, it is ours; of a child's, its nursery deals with it. @internal */
  linkFailed(peer: Peer, error: unknown): void {
    for (const nursery of this.nurseries) nursery.linkFailed(peer, error)
  }

  /** A channel has ended. @internal */
  peerGone(peer: Peer, reason: TransportClosed): void {
    if (peer === this.link) this.onLinkLost?.(reason)
  }

  /** Its process ends with it. @internal */
  leaving = false

  /** What a child does when its parent is gone; set by `child-main`. @internal */
  onLinkLost: ((reason: TransportClosed) => void) | undefined

  // ---- the end

  /** A peer asks this actor to end. @internal */
  cancelFor(peer: Peer, budgetMs: number): { ended: Promise<void>; hasChildren: boolean } {
    const hasChildren = [...this.nurseries].some((nursery) => nursery.size > 0)
    // Ours have to be through before whoever asked us loses patience.
    const left = Number.isFinite(budgetMs) ? budgetMs - BUDGET_STEP_MS : this.nurseryBudgetMs
    this.nurseryBudgetMs = Math.max(300, Math.min(this.nurseryBudgetMs, left))
    const by = peer.uid
    const reason = new ContextCancelled(`actor ${this.aid.name} was cancelled by ${by[0]}`, {
      canceller: by,
      srcUid: this.uid,
    })
    return { ended: this.cancel(reason), hasChildren }
  }

  /** A child that did not acknowledge its cancellation is made to end; bounded. @internal */
  insist(peer: Peer): void {
    for (const nursery of this.nurseries) {
      for (const child of nursery.children.values()) if (child.peer === peer) void child.stop()
    }
  }

  /**
   * Cancels all tasks and waits for them, side by side; then closes the server. Idempotent: who asks second waits for the
   * same end.
   * @internal
   */
  cancel(reason: CancelledError): Promise<void> {
    this.#cancelling ??= this.#cancel(reason)
    return this.#cancelling
  }

  async #cancel(reason: CancelledError): Promise<void> {
    this.cancelReason = reason
    log('cancel', `${this}: ${reason.message}`)
    this.service.cancel(reason)
    this.scope.cancel(reason)
    await this.service.join()
    for (const task of this.service.uncooperative) {
      log('warning', `task ${task.name} did not react to its cancellation and was given up\n${task.startedAtStack}`)
    }
    await this.server?.refuse(this.leaving)
    this.#ended.resolve()
  }

  /**
   * Ends this actor from code that runs in it, also from synchronous code: its tasks are cancelled, whoever waits for them
   * gets a {@link ContextCancelled}, and it exits with 0.
   */
  cancelSoon(): void {
    setTurn(() => {
      const reason = new ContextCancelled(`actor ${this.aid.name} cancelled itself`, {
        canceller: this.uid,
        srcUid: this.uid,
      })
      void this.cancel(reason)
    })
  }
}

/** Each level of a tree keeps so much of the time that it was given for itself. */
const BUDGET_STEP_MS = 400

const PROCESS_ACTOR = Symbol.for('harrow.actor')
const holder = globalThis as { [PROCESS_ACTOR]?: { actor: Actor | undefined; last: string | undefined } }

function state(): { actor: Actor | undefined; last: string | undefined } {
  holder[PROCESS_ACTOR] ??= { actor: undefined, last: undefined }
  return holder[PROCESS_ACTOR]
}

/** The actor whose code runs now; undefined outside of any. */
export function currentActorOrNone(): Actor | undefined {
  const host = currentHost()
  return host instanceof Actor ? host : state().actor
}

/**
 * The actor whose code runs now.
 *
 * @throws NoRuntime when there is none; the message names the last one that ended here
 * @example
 * ```ts
 * import { currentActor } from 'harrow'
 *
 * export async function whoAmI() {
 *   return currentActor().aid.name
 * }
 * ```
 */
export function currentActor(): Actor {
  const actor = currentActorOrNone()
  if (actor) return actor
  const { last } = state()
  throw new NoRuntime(
    last
      ? `there is no actor runtime here any more: ${last} has ended. Open another with openRoot() or openNursery().`
      : 'there is no actor runtime here. Open one with openRoot() or openNursery().',
  )
}

/** Makes an actor the one of this process, or ends that. @internal */
export function setProcessActor(actor: Actor | undefined): void {
  const now = state()
  provideActors(actor && ((limitMs) => actorTree(actor, limitMs)))
  if (now.actor && !actor) now.last = now.actor.toString()
  now.actor = actor
}

/** The actor of this process, whatever runs. @internal */
export function processActor(): Actor | undefined {
  return state().actor
}
