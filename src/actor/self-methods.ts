/** Methods of the runtime itself that a peer may call, as module `self`; nothing else of it can be reached. */
import { taskTree } from '../scope/index.ts'
import type { Aid } from '../wire/messages.ts'
import type { Actor } from './actor.ts'
import { actorTree } from './actor-tree.ts'
import type { Peer } from './peer.ts'
import { notRegistrar, type Registry } from './registry.ts'

type Method = (...args: unknown[]) => unknown

const METHODS: Record<string, (actor: Actor, peer: Peer) => Method> = {
  ping: () => () => 'pong',
  tasks: () => () => taskTree(),
  tree: (actor) => (limitMs) => actorTree(actor, Number(limitMs)),
  register: (actor, peer) => (aid, addrs) => registryOf(actor).register(checkAid(aid, peer), strings(addrs)),
  unregister: (actor) => (uuid) => registryOf(actor).unregister(String(uuid)),
  forget: (actor) => (addr) => registryOf(actor).forget(String(addr)),
  find: (actor) => (name) => registryOf(actor).find(String(name)) ?? null,
  waitFor: (actor) => (name) => registryOf(actor).waitFor(String(name)),
  list: (actor) => () => registryOf(actor).list(),
}

/** Names of the methods, for tests and messages. */
export const SELF_METHODS: readonly string[] = Object.keys(METHODS)

/** @throws TypeError for anything that is not on the list */
export function selfMethod(actor: Actor, peer: Peer, name: string): Method {
  const make = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined
  if (!make) throw new TypeError(`self.${name} cannot be called. The runtime answers to ${SELF_METHODS.join(', ')}.`)
  return make(actor, peer)
}

function registryOf(actor: Actor): Registry {
  if (!actor.registry) throw notRegistrar(actor.toString())
  return actor.registry
}

/** An actor may register itself only, or the children below it over its own link: the name is what it said hello with. */
function checkAid(aid: unknown, peer: Peer): Aid {
  const { name, uuid, pid } = (aid ?? {}) as Partial<Aid>
  if (typeof name !== 'string' || typeof uuid !== 'string') throw new TypeError('register() expects an actor id.')
  peer.checkSender(uuid)
  return { name, uuid, ...(typeof pid === 'number' && { pid }) }
}

function strings(value: unknown): string[] {
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value as string[]
  throw new TypeError('register() expects a list of addresses.')
}
