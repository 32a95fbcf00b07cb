import { Channel } from '../wire/channel.ts'
import { memoryPair } from '../wire/transports/memory.ts'
import type { Actor } from './actor.ts'
import { Peer } from './peer.ts'

/** An actor that talks to itself: two ends of a pipe in memory. */
export function localPeer(actor: Actor): Peer {
  const [near, far] = memoryPair(actor.aid.name)
  new Peer(actor, new Channel(far), actor.aid, false).start()
  const peer = new Peer(actor, new Channel(near), actor.aid, true)
  peer.start()
  return peer
}
