/** The end of an actor, the same for roots and children: tasks, callbacks, registration, peers, each with its bound. */

import { CancelledError, TransportClosed } from '../errors.ts'
import { clearTimer, setTimer } from '../process/clean.ts'
import type { Actor } from './actor.ts'
import { log } from './log.ts'
import { unregisterEverywhere } from './registration.ts'

/** Cancels what runs, and gives back what the actor has. Idempotent; never rejects. */
export async function endActor(actor: Actor): Promise<void> {
  const { deadlines } = actor.vars
  await actor.cancel(new CancelledError(`${actor} ends`, { source: 'explicit', by: actor.aid.name }))
  await actor.lifetimeStack.close(deadlines.peersClear)
  await unregister(actor)
  await clearPeers(actor, deadlines.peersClear)
}

async function unregister(actor: Actor): Promise<void> {
  if (actor.registry) return
  try {
    await unregisterEverywhere(actor)
  } catch (error) {
    log('warning', `taking back the registration failed: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Peers are told by the end of their channel; one that does not close its side is named and left. */
async function clearPeers(actor: Actor, limitMs: number): Promise<void> {
  // Whoever has not said hello by now is not waited for: that may take as long as a handshake may.
  for (const transport of actor.dialling) {
    transport.destroy(new TransportClosed(`${actor} has ended`, { by: 'local' }))
  }
  const peers = [...actor.peers].filter((peer) => peer !== actor.link)
  if (peers.length === 0) return
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimer(resolve, limitMs)
  })
  await Promise.race([Promise.all(peers.map((peer) => peer.close(limitMs))), late])
  clearTimer(timer)
  for (const peer of peers) {
    if (!peer.connected) continue
    log('warning', `peer ${peer.aid.name} did not disconnect within ${limitMs} ms`)
    peer.destroy('the actor has ended')
  }
}
