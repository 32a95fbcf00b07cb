/** Telling registrars where an actor is, and taking that back. */
import { isCancelled } from '../errors.ts'
import { moveOnAfter, shield } from '../scope/index.ts'
import { formatAddress } from '../wire/address.ts'
import { lateAfter } from '../wire/late.ts'
import type { Actor } from './actor.ts'
import { log } from './log.ts'
import type { Peer } from './peer.ts'

/** Calls a registrar: over the link when that is the parent, else over a connection that is made for it. */
async function ask(actor: Actor, registry: string, call: (peer: Peer) => Promise<unknown>): Promise<boolean> {
  if (actor.link && actor.parentAddrs.includes(registry)) {
    if (!actor.link.connected) return false
    await call(actor.link)
    return true
  }
  const { withPeer } = await import('./discovery.ts')
  const told = await withPeer(actor, registry, async (peer) => {
    await call(peer)
    return true
  })
  return told ?? false
}

/**
 * Over the link nothing is waited for: whatever comes later is read later. Another registrar, which may be busy or stopped, is waited for
 * at most `probeAttempt`; it has the registration when it answers.
 */
export async function registerEverywhere(actor: Actor): Promise<void> {
  const args = [actor.aid, actor.addresses.map(formatAddress)]
  for (const registry of actor.vars.registryAddrs) {
    const done = ask(actor, registry, (peer) => peer.call('self', 'register', args)).then(
      (told) => {
        if (!told) notRegistered(registry, 'it does not answer')
      },
      (error) => {
        if (!isCancelled(error) && !actor.isCancelled) notRegistered(registry, error)
      },
    )
    if (!actor.parentAddrs.includes(registry)) await inTime(done, registry, actor.vars.deadlines.probeAttempt)
  }
}

function inTime(done: Promise<void>, registry: string, limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const clear = lateAfter(limitMs, () => {
      notRegistered(registry, `the registrar has not answered within ${limitMs} ms; nobody waits for it any longer`)
      resolve()
    })
    void done.then(() => {
      clear()
      resolve()
    })
  })
}

function notRegistered(registry: string, why: unknown): void {
  log('warning', `not registered at ${registry}: ${why instanceof Error ? why.message : String(why)}`)
}

/** At most `unregister` for each; never throws. */
export async function unregisterEverywhere(actor: Actor): Promise<void> {
  const { unregister } = actor.vars.deadlines
  await Promise.all(
    actor.vars.registryAddrs.map(async (registry) => {
      if (actor.link?.connected && actor.parentAddrs.includes(registry)) {
        // It is read before the end of the link is, so nothing is waited for here either.
        actor.link.tell('unregister', [actor.aid.uuid])
        return
      }
      try {
        await shield(unregister, `unregistering at ${registry}`, async () => {
          await moveOnAfter(unregister, () =>
            ask(actor, registry, (peer) => peer.call('self', 'unregister', [actor.aid.uuid])),
          )
        })
      } catch (error) {
        log('transport', `not unregistered at ${registry}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }),
  )
}
