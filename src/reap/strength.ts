/** How sure it is that no process of a session gets away; chosen by probing, never promised beyond that. */
import { selfAndAncestors } from './members.ts'
import { listSessions, type SessionState, statusOf } from './state.ts'

/**
 * `exact`: runs below `harrow exec`, whose subtree nobody can leave. `strong`: this process adopts orphans, looks every 50
 * ms and hands a lease to every child; a process can only get away when it clears its environment, closes all
 * descriptors and leaves its parent within one such window. `basic`: known by the environment and by descent only.
 */
export type Strength = 'basic' | 'strong' | 'exact'

/** Names the session of the `harrow exec` that a process runs below. */
export const EXEC_ENV = 'HARROW_EXEC'

/**
 * The `harrow exec` that this process runs below: named in the environment, alive, really an ancestor, and able to adopt.
 *
 * @param stateDir folder of the session files; default: those of this user
 */
export function execAncestor(stateDir?: string): SessionState | undefined {
  const id = process.env[EXEC_ENV]
  if (!id) return undefined
  const ancestors = selfAndAncestors()
  return listSessions(stateDir).find(
    (state) =>
      state.id === id &&
      state.kind === 'exec' &&
      state.strength !== 'basic' &&
      state.main.pid !== process.pid &&
      ancestors.has(state.main.pid) &&
      statusOf(state) === 'main-lives',
  )
}

/** One line for people: the strength in force, and how to get the next one. `missing` is half a sentence. */
export function describeStrength({ strength, missing }: { strength: Strength; missing?: string | null }): string {
  if (strength === 'exact') return 'exact: everything runs below harrow exec'
  if (strength === 'strong') return 'strong: orphans are adopted, every child holds a lease'
  const cure = missing?.startsWith('koffi is not installed') ? ' (npm install --save-dev koffi)' : ''
  const why = missing ? `; no more because ${missing}${cure}` : ''
  return `basic: processes are known by their environment and by descent only${why}`
}
