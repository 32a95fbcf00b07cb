/**
 * One life of an actor in the memory of the zygote, from the dial to the end, before the first fork: V8 compiles a function
 * when it is first called, and each child would pay for that anew, in time and in pages of its own. Nothing is left: no actor,
 * no variables, no listener, no connection, no file.
 */
import { clearTimer, setTimer } from '../process/clean.ts'
import { formatAddress, parseAddress, socketAddress } from '../wire/address.ts'
import type { Channel } from '../wire/channel.ts'
import { acceptPeer } from '../wire/handshake.ts'
import { dial, listen } from '../wire/listener.ts'
import { type Message, Msg } from '../wire/messages.ts'
import type { Transport } from '../wire/transport.ts'
import { type Actor, processActor } from './actor.ts'
import { childMain } from './child-main.ts'
import { logLevel, logName, setLogLevel, setLogName } from './log.ts'
import { getRuntimeVars, setRuntimeVars } from './runtime-vars.ts'
import type { SpawnSpec } from './spec.ts'

const NAME = 'rehearsal'
/** What an actor exposes here; without a file, so that nothing of it can be stale or missing. */
const MODULE = 'data:text/javascript,export async function rehearse(value) { return value }'
/** Each step takes a few milliseconds. A zygote that cannot rehearse forks all the same. */
const LIMIT_MS = 5000

/** Never rejects: a child whose functions are not compiled is slower, and that is all. */
export async function rehearse(): Promise<void> {
  const before = { name: logName(), level: logLevel(), vars: getRuntimeVars() }
  try {
    await once()
  } catch (error) {
    console.error(`harrow: the zygote could not rehearse: ${error instanceof Error ? error.stack : String(error)}`)
  } finally {
    setLogName(before.name)
    setLogLevel(before.level)
    setRuntimeVars(before.vars)
  }
}

async function once(): Promise<void> {
  const address = socketAddress('uds', NAME)
  const addr = formatAddress(address)
  const parent = Promise.withResolvers<void>()
  let played: Actor | undefined
  const listener = await listen(address, {
    unique: true,
    onTransport: (transport) => {
      acceptPeer(transport, { self: { ...SELF, addr }, registrar: true, limitMs: LIMIT_MS })
        .then(({ channel }) => playParent(channel, (actor) => (played = actor)))
        .then(parent.resolve, parent.reject)
    },
  })
  let link: Transport | undefined
  try {
    const ended = Promise.withResolvers<number>()
    void childMain({
      aid: { name: NAME, uuid: NAME },
      method: 'zygote',
      ownProcess: true,
      told: { parent: { ...SELF, addr }, spec: specOf(addr) },
      connect: async () => {
        link = await dial(parseAddress(addr), { limitMs: LIMIT_MS })
        return link
      },
      importModule: (url) => import(url),
      exit: ended.resolve,
    })
    // A child that ends by itself has no parent that would hear of it.
    const well = ended.promise.then((code) => {
      if (code !== 0) throw new Error(`the actor ended with ${code}`)
    })
    // Its process would have closed these.
    const closed = well.then(async () => {
      link?.destroy()
      await played?.server?.close()
    })
    await Promise.all([parent.promise, closed])
  } finally {
    await listener.close(0)
  }
}

/** With its address it is the registrar that the child knows, and asks over this link. */
const SELF = { name: 'parent', uuid: 'parent' }

function specOf(addr: string): SpawnSpec {
  const vars = { ...getRuntimeVars({ clear: true }), registryAddrs: [addr], rootMailbox: addr, rootAddrs: [addr] }
  return {
    parent: { ...SELF, addr },
    vars,
    modules: [MODULE],
    regAddrs: [],
    bindAddrs: [],
    onParentLost: 'cancel',
    childSigint: 'ipc',
    lineage: NAME,
  }
}

/** What a parent says to a child that was told its spec: an answer to its registration, one call, and that it is to end. */
function playParent(channel: Channel, meet: (actor: Actor | undefined) => void): Promise<void> {
  const CALL = 2
  const END = 1
  return new Promise((resolve, reject) => {
    // With its link the child ends too, and with that its timers.
    const fail = (why: string): void => {
      clearTimer(timer)
      channel.destroy()
      reject(new Error(why))
    }
    const timer = setTimer(() => fail(`nothing was heard within ${LIMIT_MS} ms`), LIMIT_MS)
    const take = (message: Message): void => {
      if (message[0] === Msg.start) channel.send([Msg.return, message[1], null])
      else if (message[0] === Msg.return && message[1] === CALL) {
        meet(processActor())
        channel.send([Msg.cancelActor, END, LIMIT_MS])
      } else if (message[0] === Msg.error) fail(JSON.stringify(message[2]))
    }
    channel.start(take, () => {
      clearTimer(timer)
      resolve()
    })
    channel.send([Msg.start, CALL, '', 'rehearse', [{ n: 1, text: 'a' }], 'func', null])
  })
}
