/** Finding actors by name. */
import { NoRuntime, TransportClosed, UsageError } from '../errors.ts'
import { sleep } from '../scope/index.ts'
import { formatAddress, parseAddress, preferAddresses } from '../wire/address.ts'
import { greetPeer } from '../wire/handshake.ts'
import { dial } from '../wire/listener.ts'
import type { Transport } from '../wire/transport.ts'
import { type Actor, currentActor } from './actor.ts'
import { log } from './log.ts'
import { Peer } from './peer.ts'
import { Portal } from './portal.ts'
import type { Entry } from './registry.ts'

export interface FindOptions {
  /** Registrars to ask instead of those of this actor. */
  registryAddrs?: readonly string[]
  /** Throw instead of giving null when nobody of that name is there. @default false */
  raiseOnNone?: boolean
}

/**
 * A portal to the actor that registered last under a name, or null. A connection that is open already is used again;
 * one that had to be made is closed by `portal.close()` or `await using`, and at the latest with this actor.
 *
 * @throws NoRuntime without a runtime; with `raiseOnNone`, when nobody is found, naming the registries
 * @example
 * ```ts
 * import { findActor } from 'harrow'
 *
 * await using portal = (await findActor('tally')) ?? undefined
 * ```
 */
export async function findActor<M = Record<string, (...args: never[]) => unknown>>(
  name: string,
  options: FindOptions = {},
): Promise<Portal<M> | null> {
  if (typeof name !== 'string' || name === '') throw new UsageError('findActor() expects the name of an actor.')
  const actor = currentActor()
  const registries = options.registryAddrs ?? actor.vars.registryAddrs
  let silent: Entry | undefined
  for (const registry of registries) {
    const entry = await askRegistrar(actor, registry, 'find', name)
    const portal = entry && (await connect<M>(actor, entry, registry))
    if (portal) return portal
    silent ??= entry ?? undefined
  }
  if (options.raiseOnNone) throw nobody(name, registries, silent)
  return null
}

function nobody(name: string, registries: readonly string[], silent: Entry | undefined): NoRuntime {
  return new NoRuntime(
    silent === undefined
      ? `no actor ${name} is registered at ${registries.join(', ')}.`
      : `the actor ${name} is registered at ${registries.join(', ')}, but does not answer at ${silent.addrs.join(', ')}: it has ended, is stopped, or its loop is busy.`,
  )
}

/**
 * The same, but waits until such an actor registers. Cancellable.
 *
 * @throws NoRuntime without a runtime, and when the registrar does not answer for some seconds
 */
export async function waitForActor<M = Record<string, (...args: never[]) => unknown>>(
  name: string,
  options: Pick<FindOptions, 'registryAddrs'> = {},
): Promise<Portal<M>> {
  const actor = currentActor()
  const [registry] = options.registryAddrs ?? actor.vars.registryAddrs
  if (registry === undefined) throw new NoRuntime('this actor knows no registrar.')
  for (let silent = 0; ; ) {
    const entry = await askRegistrar(actor, registry, 'waitFor', name)
    const portal = entry && (await connect<M>(actor, entry, registry))
    if (portal) return portal
    silent = entry ? 0 : silent + 1
    // One that is there waits with us: no answer means that it is not, and who is to come would register elsewhere.
    if (silent === MOST_SILENT)
      throw new NoRuntime(`the registrar at ${registry} does not answer: nobody can wait there for an actor ${name}.`)
    await sleep(PAUSE_MS * 2 ** silent)
  }
}

/** Between two questions, doubled with each that got no answer: 3 s in all. */
const PAUSE_MS = 50
const MOST_SILENT = 6

/** A portal to the registrar, or null when it does not answer. */
export async function getRegistry(addr?: string): Promise<Portal | null> {
  const actor = currentActor()
  const registry = addr ?? actor.vars.registryAddrs[0]
  if (registry === undefined) return null
  const peer = await peerAt(actor, registry)
  return peer ? portalOf(peer) : null
}

/** A portal to the root of the tree; for a child of the root it is that of its parent. */
export async function getRoot(): Promise<Portal> {
  const actor = currentActor()
  const { rootMailbox, tree } = actor.vars
  if (actor.link && actor.link.aid.uuid === tree) return portalOf(actor.link)
  const peer = rootMailbox === null ? undefined : await peerAt(actor, rootMailbox)
  if (!peer) throw new TransportClosed(`the root does not answer at ${rootMailbox}`, { by: 'peer' })
  return portalOf(peer)
}

/** A portal to the parent. @throws NoRuntime in a root */
export function getParent(): Portal {
  const actor = currentActor()
  if (!actor.link) throw new NoRuntime(`${actor} is a root: it has no parent.`)
  return portalOf(actor.link)
}

function portalOf<M>(peer: Peer): Portal<M> {
  return new Portal<M>(peer).use()
}

/** Asks one registrar; one that cannot be reached knows nobody. */
async function askRegistrar(
  actor: Actor,
  registry: string,
  method: 'find' | 'waitFor',
  name: string,
): Promise<Entry | null> {
  if (actor.registry && actor.vars.registryAddrs.includes(registry)) {
    if (method === 'find') return actor.registry.find(name) ?? null
    return await actor.registry.waitFor(name)
  }
  return (await withPeer(actor, registry, (peer) => peer.call('self', method, [name]))) as Entry | null
}

/** Calls over the link when the parent is that registrar, else over a connection that is closed afterwards. */
export async function withPeer<T>(actor: Actor, address: string, use: (peer: Peer) => Promise<T>): Promise<T | null> {
  const peer = await peerAt(actor, address)
  if (!peer) return null
  peer.users++
  try {
    return await use(peer)
  } finally {
    void peer.letGo()
  }
}

/** The peer behind an address: the one that is connected, or a new connection; undefined when nobody answers. */
async function peerAt(actor: Actor, address: string): Promise<Peer | undefined> {
  const found = await lookAt(actor, address)
  return typeof found === 'string' ? undefined : found
}

/** @returns `gone` when the system says that nobody listens there, `silent` when whoever does gives no answer in time */
async function lookAt(actor: Actor, address: string): Promise<Peer | 'gone' | 'silent'> {
  const known = [...actor.peers].find((peer) => peer.connected && peer.aid.addr === address)
  if (known) return known
  if (actor.link?.connected && actor.parentAddrs.includes(address)) return actor.link
  const { deadlines } = actor.vars
  let transport: Transport | undefined
  try {
    transport = await dial(parseAddress(address), { limitMs: deadlines.probeAttempt })
    actor.dialling.add(transport)
    const { channel, aid } = await greetPeer(transport, {
      self: { ...actor.aid, ...(actor.addresses[0] && { addr: formatAddress(actor.addresses[0]) }) },
      role: 'peer',
      registrar: actor.registry !== undefined,
      limitMs: deadlines.handshakeOut,
    })
    const peer = new Peer(actor, channel, { ...aid, addr: address }, true)
    peer.ofDiscovery = true
    peer.start()
    return peer
  } catch (error) {
    log('transport', `${address} does not answer: ${error instanceof Error ? error.message : String(error)}`)
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
    return code === 'ECONNREFUSED' || code === 'ENOENT' ? 'gone' : 'silent'
  } finally {
    if (transport) actor.dialling.delete(transport)
  }
}

/** Connects to a registered actor; when nobody listens there any more, its registrar is told. */
async function connect<M>(actor: Actor, entry: Entry, registry: string): Promise<Portal<M> | null> {
  const { aid, addrs } = entry
  if (aid.uuid === actor.aid.uuid) return selfPortal<M>(actor)
  const known = [...actor.peers].find((peer) => peer.connected && peer.aid.uuid === aid.uuid)
  if (known) return portalOf<M>(known)
  for (const address of preferAddresses(addrs.map(parseAddress))) {
    const text = formatAddress(address)
    const peer = await lookAt(actor, text)
    // Its loop may be busy: it is there, and may answer the next time.
    if (peer === 'silent') continue
    if (peer !== 'gone') {
      if (peer.aid.uuid === aid.uuid) return portalOf<M>(peer)
      peer.users++
      void peer.letGo()
    }
    if (actor.registry) actor.registry.forget(text)
    else await withPeer(actor, registry, (registrar) => registrar.call('self', 'forget', [text]))
  }
  return null
}

const locals = new WeakMap<Actor, Portal<never>>()

/** A portal to this very actor: calls run here, without any channel. */
async function selfPortal<M>(actor: Actor): Promise<Portal<M>> {
  const known = locals.get(actor)
  if (known) return known as unknown as Portal<M>
  const { localPeer } = await import('./local-peer.ts')
  const portal = new Portal<never>(localPeer(actor))
  locals.set(actor, portal)
  return portal as unknown as Portal<M>
}
