/** The life of a child actor, the same for every backend; entries of backends call it and nothing else. */

import { ContextCancelled, InternalError, type TransportClosed, thrownText } from '../errors.ts'
import { clearTick, setTick } from '../process/clean.ts'
import { runDetached, type Scope } from '../scope/index.ts'
import { removeSocketsOfDead } from '../spawn/left-sockets.ts'
import type { SpawnMethod } from '../spawn/methods.ts'
import { formatAddress, parseAddress, socketAddress } from '../wire/address.ts'
import type { Ahead } from '../wire/ahead.ts'
import type { Channel } from '../wire/channel.ts'
import { greetPeer, greetTold } from '../wire/handshake.ts'
import { type Aid, type Message, Msg } from '../wire/messages.ts'
import { packError } from '../wire/remote-error.ts'
import type { Transport } from '../wire/transport.ts'
import { Actor, setProcessActor } from './actor.ts'
import { DEADLINES } from './deadlines.ts'
import { endActor } from './end-actor.ts'
import { log, setLogLevel, setLogName } from './log.ts'
import { Peer } from './peer.ts'
import { registerEverywhere } from './registration.ts'
import { setRuntimeVars } from './runtime-vars.ts'
import { sendError } from './serve.ts'
import { Server } from './server.ts'
import { watchChildInterrupts } from './signals.ts'
import { isSpec, type SpawnSpec } from './spec.ts'
import { watchTreeSignal } from './tree-signal.ts'

/** What a backend gives to an actor that it has brought to life. */
export interface ChildBoot {
  aid: Aid
  method: SpawnMethod
  /** The actor is a process of its own, with signals and a title. */
  ownProcess: boolean
  /** The actor shares its process and its thread with its parent (`vm`): nothing of the process is its own. */
  shared?: boolean
  connect(): Promise<Transport>
  /** What the parent would say first, where the child was told that with its order. */
  told?: Ahead
  importModule(url: string): Promise<Record<string, unknown>>
  /** Ends the process, the thread, the context. */
  exit(code: number): void
}

/**
 * Connects, says hello, takes the spec, imports, binds, registers, serves, and ends. Settles when the actor has ended; never
 * rejects: what goes wrong is told to the parent, and to `exit`.
 */
export async function childMain(boot: ChildBoot): Promise<void> {
  if (!boot.shared) setLogName(boot.aid.name)
  // It lives until it is told to end, whatever keeps its event loop busy or not.
  const keepAlive = setTick(() => {}, KEEP_ALIVE_MS)
  let code = 0
  try {
    await runDetached({ name: boot.aid.name }, async (scope) => {
      code = await live(boot, scope)
    })
  } catch (error) {
    log('error', `${boot.aid.name}: ${thrownText(error, ({ stack, message }) => stack ?? message)}`)
    code = 1
  }
  clearTick(keepAlive)
  boot.exit(code)
}

const KEEP_ALIVE_MS = 2 ** 30

async function live(boot: ChildBoot, scope: Scope): Promise<number> {
  const { channel, parent, told } = await join(boot)
  const inbox = new Inbox(channel, told)
  // A module that waits for ever must not keep an actor alive whose parent is gone.
  inbox.onLost = () => boot.exit(1)
  const first = await inbox.first
  if (!first) return 1
  const spec = first[0] === Msg.spec ? first[1] : undefined
  const uid = [boot.aid.name, boot.aid.uuid] as const
  if (!isSpec(spec)) {
    const error = new InternalError(`the first message of a parent is a spec, this one is of type ${first[0]}`)
    channel.send([Msg.error, 0, packError(error, uid)])
    await channel.close(DEADLINES.linkDrain)
    return 1
  }
  const actor = makeActor(boot, scope, spec)
  const link = new Peer(actor, channel, parent, true)
  actor.link = link
  actor.parentAddrs =
    spec.vars.rootMailbox === parent.addr
      ? [...spec.vars.rootAddrs, ...(parent.addr ? [parent.addr] : [])]
      : parent.addr
        ? [parent.addr]
        : []
  const crash = boot.shared ? undefined : watchCrashes(actor, link, boot)
  const signals = boot.ownProcess ? watchChildInterrupts(actor, spec.childSigint) : undefined
  const tree = boot.ownProcess ? watchTreeSignal(actor) : undefined
  // An actor's own code may end the process.
  const abandon = (): void => actor.server?.abandon()
  if (boot.ownProcess) process.on('exit', abandon)
  actor.onLinkLost = (reason) => parentGone(actor, spec, reason)
  if (spec.onParentLost === 'stay') inbox.onLost = undefined
  try {
    if (!(await bootUp(actor, link, spec))) return 1
    inbox.open(link)
    await actor.ended
    await endActor(actor)
    if (boot.ownProcess && !link.connected) tidyAfter(parent)
    // Closing one by one what the process has open costs more than all the rest of its end.
    if (link.connected && !(boot.ownProcess && link.leave())) await link.close(actor.vars.deadlines.linkDrain)
    return 0
  } finally {
    signals?.()
    tree?.()
    process.removeListener('exit', abandon)
    crash?.()
    if (!boot.shared) setProcessActor(undefined)
  }
}

async function join(boot: ChildBoot): Promise<{ channel: Channel; parent: Aid; told?: Message }> {
  const transport = await boot.connect()
  if (boot.told && transport.trusted) {
    const { parent, spec } = boot.told
    const channel = greetTold(transport, { ...boot.aid, pid: process.pid })
    return { channel, parent, told: [Msg.spec, spec] }
  }
  const { channel, aid } = await greetPeer(transport, {
    self: { ...boot.aid, pid: process.pid },
    role: 'link',
    registrar: false,
    limitMs: DEADLINES.handshakeIn,
  })
  return { channel, parent: aid }
}

function makeActor(boot: ChildBoot, scope: Scope, spec: SpawnSpec): Actor {
  const vars = { ...spec.vars, isRoot: false }
  const actor = new Actor({
    aid: { ...boot.aid, pid: process.pid },
    spawnMethod: boot.method,
    vars,
    scope,
    parent: spec.parent,
    importModule: boot.importModule,
  })
  actor.lineage = spec.lineage
  actor.leaving = boot.ownProcess
  if (!boot.shared) {
    setLogLevel(vars.logLevel)
    setRuntimeVars(vars)
    setProcessActor(actor)
  }
  return actor
}

/** Imports, binds, registers, in this order. A module that fails is told to the parent and ends the actor. */
async function bootUp(actor: Actor, link: Peer, spec: SpawnSpec): Promise<boolean> {
  try {
    if (actor.modules.urls.length > 0) throw new InternalError('modules were exposed before the spec was applied')
    await actor.modules.expose(spec.modules)
    const server = new Server(actor)
    actor.server = server
    const [transport = 'uds'] = actor.vars.enableTransports
    const wanted =
      spec.bindAddrs.length > 0 ? spec.bindAddrs.map(parseAddress) : [socketAddress(transport, actor.aid.name)]
    for (const address of wanted) await server.bind(address, spec.bindAddrs.length === 0)
    actor.addresses = server.addresses
    if (actor.vars.registryAddrs.length > 0) {
      await registerEverywhere(actor)
    }
    log('runtime', `${actor} serves at ${actor.addresses.map(formatAddress).join(', ')}`)
    return true
  } catch (error) {
    await tellAndEnd(actor, link, error)
    return false
  }
}

async function tellAndEnd(actor: Actor, link: Peer, error: unknown): Promise<void> {
  log('error', `${actor}: ${thrownText(error, ({ stack, message }) => stack ?? message)}`)
  if (link.connected) sendError(actor, link, 0, error)
  await actor.server?.refuse()
  await link.close(actor.vars.deadlines.linkDrain)
}

/** An error that nobody catches ends the actor; the parent hears of it before. */
function watchCrashes(actor: Actor, link: Peer, boot: ChildBoot): () => void {
  const onCrash = (error: unknown): void => {
    process.removeListener('uncaughtException', onCrash)
    process.on('uncaughtException', () => {})
    void tellAndEnd(actor, link, error).finally(() => boot.exit(1))
  }
  process.on('uncaughtException', onCrash)
  return () => process.removeListener('uncaughtException', onCrash)
}

/** The parent is gone without a word: with `cancel` the actor ends itself, with `stay` it serves on. */
function parentGone(actor: Actor, { onParentLost }: SpawnSpec, reason: TransportClosed): void {
  if (actor.isCancelled) return
  if (onParentLost === 'stay') {
    log('warning', `the parent of ${actor} is gone (${reason.message}); it stays`)
    return
  }
  log('cancel', `the parent of ${actor} is gone: ${reason.message}`)
  void actor.cancel(new ContextCancelled(`the parent of ${actor} is gone`, { srcUid: actor.uid, cause: reason }))
}

/** A parent that was killed has left its sockets. */
function tidyAfter({ addr }: Aid): void {
  const address = addr === undefined ? undefined : parseAddress(addr)
  if (address?.kind === 'uds') removeSocketsOfDead(address.path)
}

/** Keeps what comes before the actor can deal with it. */
class Inbox {
  readonly first: Promise<Message | undefined>
  /** Called when the channel closes before the actor deals with it. */
  onLost: (() => void) | undefined
  readonly #held: Message[] = []
  #closed: TransportClosed | undefined
  #peer: Peer | undefined

  /** @param told the first message, where it has come in another way */
  constructor(channel: Channel, told?: Message) {
    const first = Promise.withResolvers<Message | undefined>()
    this.first = first.promise
    let any = told !== undefined
    if (told) first.resolve(told)
    channel.start(
      (message) => {
        if (this.#peer) this.#peer.receive(message)
        else if (any) this.#held.push(message)
        else {
          any = true
          first.resolve(message)
        }
      },
      (reason) => {
        this.#closed = reason
        first.resolve(undefined)
        if (this.#peer) this.#peer.end(reason)
        else this.onLost?.()
      },
    )
  }

  /** From now on everything goes to the peer, what was held first. */
  open(peer: Peer): void {
    this.#peer = peer
    for (const message of this.#held.splice(0)) peer.receive(message)
    if (this.#closed) peer.end(this.#closed)
  }
}
