/** SIGINT: at the root it cancels the tree; in a child it is its own only when nobody else looks after it. */
import { Interrupted } from '../errors.ts'
import type { Actor } from './actor.ts'
import { log } from './log.ts'

/**
 * The first SIGINT cancels the root with {@link Interrupted}, the second skips to SIGKILL, the third ends the process at once
 * (R-250, R-251).
 *
 * @returns a function that gives the signal back
 */
export function watchInterrupts(actor: Actor): () => void {
  let count = 0
  const onInterrupt = (): void => {
    count++
    if (count === 1) {
      log('cancel', 'SIGINT: the tree is cancelled')
      actor.scope.cancel(new Interrupted('interrupted by SIGINT', { by: 'SIGINT' }))
      return
    }
    if (count === 2) {
      log('warning', 'SIGINT again: what is left is killed')
      for (const nursery of actor.nurseries) void nursery.cancel({ hardKill: true })
      return
    }
    for (const nursery of actor.nurseries) for (const child of nursery.children.values()) child.handle?.terminate()
    process.removeListener('SIGINT', onInterrupt)
    process.kill(process.pid, 'SIGINT')
  }
  process.on('SIGINT', onInterrupt)
  return () => process.removeListener('SIGINT', onInterrupt)
}

/**
 * In a child that is a process: `ipc` ignores SIGINT while the parent is there, which cancels it by its link; without a parent,
 * and with `runtime`, SIGINT ends the actor in order, with exit code 0.
 */
export function watchChildInterrupts(actor: Actor, mode: 'ipc' | 'runtime'): () => void {
  const onInterrupt = (): void => {
    if (mode === 'ipc' && actor.link?.connected) {
      log('cancel', 'SIGINT is left to the parent')
      return
    }
    void actor.cancel(new Interrupted('cancelled by SIGINT', { by: 'SIGINT' }))
  }
  process.on('SIGINT', onInterrupt)
  return () => process.removeListener('SIGINT', onInterrupt)
}
