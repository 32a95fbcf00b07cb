import { monotonic, pause } from '../../process/clean.ts'
import type { ResourceSnapshot } from './snapshot.ts'

/** What has changed from one snapshot to another; null where one of them does not know. */
export type ResourceDelta = { [Key in keyof Omit<ResourceSnapshot, 'shmChangedAt'>]: number | null } & {
  /** Did files come to or go from `/dev/shm`? */
  shmChanged: boolean
}

export interface SettleOptions {
  /** Time after two turns of the loop, milliseconds; default 20. */
  limitMs?: number
}

/** Numbers that say something of their own. The others move by themselves: garbage, V8's threads and the thread pool. */
const TELLING = ['handles', 'fds', 'children', 'listeners'] as const

const SETTLE_MS = 20
const LOOK_EVERY_MS = 5

// A fake clock must not stop us.
const immediate = setImmediate

/** `after` minus `before`. */
export function diff(before: ResourceSnapshot, after: ResourceSnapshot): ResourceDelta {
  const less = (name: keyof ResourceSnapshot): number | null => {
    const [from, to] = [before[name], after[name]]
    return from === null || to === null ? null : to - from
  }
  return {
    handles: less('handles'),
    heapUsed: less('heapUsed'),
    external: less('external'),
    contexts: less('contexts'),
    detachedContexts: less('detachedContexts'),
    fds: less('fds'),
    threads: less('threads'),
    children: less('children'),
    rss: less('rss'),
    listeners: less('listeners'),
    shmChanged: before.shmChangedAt !== after.shmChangedAt,
  }
}

/**
 * Has nothing changed that is worth a closer look? Fewer is a change as well: one that went and one that came would else
 * look like nothing. Memory and threads do not count.
 */
export function isQuiet(delta: ResourceDelta): boolean {
  return !delta.shmChanged && TELLING.every((name) => delta[name] === null || delta[name] === 0)
}

/**
 * Gives what is being closed the time to close before anyone is blamed: two turns of the event loop, then 20 ms.
 *
 * @param quiet asked after each step; true ends the wait
 * @returns what `quiet` answered at last
 */
export async function settle(quiet: () => boolean = () => false, options: SettleOptions = {}): Promise<boolean> {
  for (let turn = 0; turn < 2; turn++) {
    if (quiet()) return true
    await new Promise<void>((resolve) => {
      immediate(resolve)
    })
  }
  const deadline = monotonic() + (options.limitMs ?? SETTLE_MS)
  for (;;) {
    if (quiet()) return true
    const left = deadline - monotonic()
    if (left <= 0) return false
    await pause(Math.min(LOOK_EVERY_MS, left))
  }
}
