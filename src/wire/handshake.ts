/** Who is there: hello for hello, on every transport the same; over TCP with a proof of the key on both sides. */
import { MessagingError, TimeoutError, TransportClosed } from '../errors.ts'
import { Channel } from './channel.ts'
import { lateAfter } from './late.ts'
import { type Aid, type Hello, type Message, Msg, PROTOCOL, type Role } from './messages.ts'
import type { Transport } from './transport.ts'

export interface GreetOptions {
  self: Aid
  registrar: boolean
  /** Milliseconds for the whole of it. */
  limitMs: number
  /** Shared key for transports that are not trusted; default: the user's. */
  key?: Uint8Array
}

export interface AcceptOptions extends GreetOptions {
  /** Sent before the peer has said anything, behind our hello: for a link that we have made, whose other end can only be our child. */
  ahead?: Message
}

/** The peer as it said hello. */
export interface Greeted {
  channel: Channel
  aid: Aid
  role: Role
  registrar: boolean
}

/** The peer is of harrow, but of another user or runtime folder. */
export class OtherKey extends MessagingError {}

const NONCE_BYTES = 32
/** Loaded for transports that need a proof only: it costs the start of an actor 5 ms. */
const crypto = (): typeof import('node:crypto') => process.getBuiltinModule('node:crypto')

/**
 * The dialler's side.
 *
 * @throws MessagingError for another version or a wrong proof, TimeoutError, TransportClosed; the transport is destroyed then
 */
export function greetPeer(transport: Transport, options: GreetOptions & { role: Role }): Promise<Greeted> {
  return within(transport, options.limitMs, async () => {
    const { self, role, registrar } = options
    const nonce = transport.trusted ? null : crypto().randomBytes(NONCE_BYTES)
    const channel = new Channel(transport, nonce ? 1 : 0)
    channel.send([Msg.hello, PROTOCOL, self, role, registrar, nonce, null])
    const hello = checkHello(await channel.next(), transport)
    if (nonce) {
      const key = options.key ?? (await userKey())
      checkProof(hello[6], key, nonce, 'acceptor', transport)
      channel.send([Msg.proof, sign(key, hello[5], 'dialler')])
      channel.admit()
    }
    return { channel, aid: hello[2], role: hello[3], registrar: hello[4] }
  })
}

/** The acceptor's side; the same errors. */
export function acceptPeer(transport: Transport, options: AcceptOptions): Promise<Greeted> {
  return within(transport, options.limitMs, async () => {
    const { self, registrar, ahead } = options
    // Its hello, and its proof.
    const channel = new Channel(transport, transport.trusted ? 0 : 2)
    if (ahead) {
      channel.send([Msg.hello, PROTOCOL, self, 'peer', registrar, null, null])
      channel.send(ahead)
      const hello = checkHello(await channel.next(), transport)
      return { channel, aid: hello[2], role: hello[3], registrar: hello[4] }
    }
    const hello = checkHello(await channel.next(), transport)
    const trusted = transport.trusted
    if (trusted && hello[3] === 'told') return { channel, aid: hello[2], role: 'told', registrar: hello[4] }
    const key = trusted ? undefined : (options.key ?? (await userKey()))
    const nonce = trusted ? null : crypto().randomBytes(NONCE_BYTES)
    const proof = key ? sign(key, hello[5], 'acceptor') : null
    channel.send([Msg.hello, PROTOCOL, self, 'peer', registrar, nonce, proof])
    if (key && nonce) {
      const answer = await channel.next()
      if (answer[0] !== Msg.proof) throw new MessagingError(`${transport.peer} gave no proof of the key`)
      checkProof(answer[1], key, nonce, 'dialler', transport)
      channel.admit()
    }
    return { channel, aid: hello[2], role: hello[3], registrar: hello[4] }
  })
}

/** The dialler's side of one that has been told its parent's hello: it waits for nothing. */
export function greetTold(transport: Transport, self: Aid): Channel {
  const channel = new Channel(transport)
  channel.send([Msg.hello, PROTOCOL, self, 'told', false, null, null])
  return channel
}

function checkHello(message: Message, { peer }: Transport): Hello {
  if (message[0] !== Msg.hello)
    throw new MessagingError(`${peer} does not say hello first, but sends type ${message[0]}`)
  const [, version, aid] = message
  if (version !== PROTOCOL) {
    throw new MessagingError(
      `${peer} speaks version ${version} of the protocol, this is version ${PROTOCOL}: use the same harrow`,
    )
  }
  if (typeof aid.name !== 'string' || typeof aid.uuid !== 'string') throw new MessagingError(`${peer} has no identity`)
  return message
}

function sign(key: Uint8Array, nonce: Uint8Array | null, side: string): Uint8Array {
  if (!nonce || nonce.length < NONCE_BYTES)
    throw new MessagingError('the peer asks for no proof: it must not be trusted')
  return crypto().createHmac('sha256', key).update(side).update(nonce).digest()
}

function checkProof(
  proof: Uint8Array | null,
  key: Uint8Array,
  nonce: Uint8Array,
  side: string,
  { peer }: Transport,
): void {
  const expected = sign(key, nonce, side)
  if (proof && proof.length === expected.length && crypto().timingSafeEqual(proof, expected)) return
  throw new OtherKey(`${peer} could not prove that it has the key of this user`)
}

async function userKey(): Promise<Uint8Array> {
  const { authKey } = await import('./auth-key.ts')
  return authKey()
}

/** Garbage and silence cost only this connection. */
async function within<T>(transport: Transport, limitMs: number, greet: () => Promise<T>): Promise<T> {
  let inTime: (() => void) | undefined
  const late = new Promise<never>((_, reject) => {
    inTime = lateAfter(limitMs, () => reject(new TimeoutError(`the handshake with ${transport.peer}`, limitMs)))
  })
  try {
    return await Promise.race([greet(), late])
  } catch (error) {
    transport.destroy(new TransportClosed(`no handshake with ${transport.peer}`, { by: 'local', cause: error }))
    throw error
  } finally {
    inTime?.()
  }
}
