/** Where other actors dial in. */
import { TransportClosed } from '../errors.ts'
import { type Address, formatAddress } from '../wire/address.ts'
import type { Channel } from '../wire/channel.ts'
import { acceptPeer } from '../wire/handshake.ts'
import { type Listener, listen } from '../wire/listener.ts'
import type { Aid, Role } from '../wire/messages.ts'
import type { Transport } from '../wire/transport.ts'
import type { Actor } from './actor.ts'
import { log } from './log.ts'
import { Peer } from './peer.ts'

/** A child that we wait for: its link arrives by its uuid. */
interface Expected {
  resolve(link: ChildLink): void
}

/** A child has dialled. */
export interface ChildLink {
  channel: Channel
  aid: Aid
  /** It has its spec already. */
  told: boolean
}

export class Server {
  readonly #actor: Actor
  readonly #listeners: Listener[] = []
  readonly #expected = new Map<string, Expected>()
  readonly #greeting = new Set<Transport>()
  #refusing: Promise<void> | undefined

  constructor(actor: Actor) {
    this.#actor = actor
  }

  /** Addresses as they really are: with the port that the system chose. */
  get addresses(): Address[] {
    return this.#listeners.map(({ address }) => address)
  }

  /**
   * @param unique the address was made for this server
   * @throws the listener's error: a live address, a folder that is not ours
   */
  async bind(address: Address, unique = false): Promise<void> {
    const listener = await listen(address, { unique, onTransport: (transport) => void this.accept(transport) })
    if (this.#refusing) await listener.close(0)
    else this.#listeners.push(listener)
  }

  /** The link of a child that is about to dial. @returns a function that takes the expectation back */
  expect(uuid: string, resolve: (link: ChildLink) => void): () => void {
    this.#expected.set(uuid, { resolve })
    return () => {
      this.#expected.delete(uuid)
    }
  }

  /** Greets whoever has connected; garbage and silence cost only their own connection. Never rejects. */
  async accept(transport: Transport): Promise<void> {
    this.#greeting.add(transport)
    try {
      const { channel, aid, role } = await acceptPeer(transport, {
        self: this.#self(),
        registrar: this.#actor.registry !== undefined,
        limitMs: this.#actor.vars.deadlines.handshakeIn,
      })
      this.#welcome(channel, aid, role)
    } catch (error) {
      log(
        'transport',
        `a connection of ${transport.peer} was given up: ${error instanceof Error ? error.message : error}`,
      )
      transport.destroy(new TransportClosed('no handshake', { by: 'local', cause: error }))
    } finally {
      this.#greeting.delete(transport)
    }
  }

  #self(): Aid {
    const [address] = this.addresses
    return { ...this.#actor.aid, ...(address && { addr: formatAddress(address) }) }
  }

  #welcome(channel: Channel, aid: Aid, role: Role): void {
    if (role === 'probe') {
      void channel.close(100)
      return
    }
    if (role === 'link' || role === 'told') {
      const expected = this.#expected.get(aid.uuid)
      if (expected) {
        this.#expected.delete(aid.uuid)
        expected.resolve({ channel, aid, told: role === 'told' })
        return
      }
      log('warning', `${aid.name} dials as a child, and none of that id is expected`)
      channel.destroy(new TransportClosed('no such child is expected', { by: 'local' }))
      return
    }
    if (this.#refusing) {
      channel.destroy(new TransportClosed('the actor is ending', { by: 'local' }))
      return
    }
    new Peer(this.#actor, channel, aid, false).start()
  }

  /**
   * No new connections from now on; those that are stay.
   *
   * @param leaving the process is about to exit, which closes what can be left to it
   */
  refuse(leaving = false): Promise<void> {
    const close = (listener: Listener): unknown => (leaving && listener.leave()) || listener.close(0)
    this.#refusing ??= Promise.all(this.#listeners.map(close)).then(() => {
      for (const transport of this.#greeting) {
        transport.destroy(new TransportClosed('the actor is ending', { by: 'local' }))
      }
    })
    return this.#refusing
  }

  /** The process is ending, whatever the actor does: no file of it stays. */
  abandon(): void {
    for (const listener of this.#listeners) listener.leave()
  }

  /** What was left to the end of the process by {@link refuse}, where it does not end. */
  async close(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close(0)))
  }
}
