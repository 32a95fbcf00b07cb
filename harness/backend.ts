/** The backend of a run: the environment, else the option, else the default. */
import { LOG_LEVELS } from '../src/actor/log.ts'
import { DEFAULT_SPAWN_METHOD, isSpawnMethod, type SpawnMethod } from '../src/spawn/methods.ts'

export const BACKEND_ENV = 'HARROW_BACKEND'
export const TRANSPORT_ENV = 'HARROW_TRANSPORT'
export const LOGLEVEL_ENV = 'HARROW_LOGLEVEL'

/**
 * The backend that the tests of this worker run on.
 *
 * @example
 * ```ts
 * import { activeBackend } from 'harrow/vitest'
 *
 * console.log(activeBackend()) // 'spawn'
 * ```
 */
export function activeBackend(): SpawnMethod {
  const value = process.env[BACKEND_ENV]
  return isSpawnMethod(value) ? value : DEFAULT_SPAWN_METHOD
}

/** The transport that the tests of this worker run on. */
export function activeTransport(): 'uds' | 'tcp' {
  return process.env[TRANSPORT_ENV] === 'tcp' ? 'tcp' : 'uds'
}

/** What a run is asked to use, checked before anything is collected. @returns one line about what is wrong, else undefined */
export async function gate(backend: string | undefined): Promise<string | undefined> {
  const { checkBackend } = await import('../src/spawn/registry.ts')
  try {
    await checkBackend(backend ?? DEFAULT_SPAWN_METHOD)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** @returns one line about a log level that there is not, else undefined */
export function logLevelProblem(name: string, level: string | undefined): string | undefined {
  if (!level || (LOG_LEVELS as readonly string[]).includes(level)) return undefined
  return `${name} expects one of ${LOG_LEVELS.join(', ')}, got ${JSON.stringify(level)}`
}
