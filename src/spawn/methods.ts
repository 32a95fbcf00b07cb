/** The one list of spawn backends: types, registry, marks, options and docs derive from it. */

/** Every key that can be named; the last two are reserved and throw on use. */
export const SPAWN_METHODS = ['spawn', 'fork', 'thread', 'vm', 'zygote', 'thread_fork', 'zygote_threads'] as const

export type SpawnMethod = (typeof SPAWN_METHODS)[number]

/** Taken when nothing else is said. */
export const DEFAULT_SPAWN_METHOD: SpawnMethod = 'spawn'

/** Backends that make a process for each actor, so that it has signals, a working directory and a pid of its own. */
export const PROCESS_METHODS: readonly SpawnMethod[] = ['spawn', 'fork', 'zygote']

/** Backends of a matrix when none are named: `vm` starves its siblings and is left out. */
export const MATRIX_METHODS: readonly SpawnMethod[] = ['spawn', 'fork', 'thread']

/** Names of the reference implementation and the key that corresponds; no aliases. */
export const SEED_NAMES: Readonly<Record<string, SpawnMethod>> = {
  trio: 'spawn',
  mp_spawn: 'fork',
  subint: 'thread',
  realm: 'vm',
  mp_forkserver: 'zygote',
  forkserver: 'zygote',
  main_thread_forkserver: 'zygote',
  subint_fork: 'thread_fork',
  subint_forkserver: 'zygote_threads',
  thread_forkserver: 'zygote_threads',
}

export function isSpawnMethod(value: unknown): value is SpawnMethod {
  return SPAWN_METHODS.includes(value as SpawnMethod)
}
