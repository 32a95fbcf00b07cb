/** Backends by name, loaded when they are first used, with an error that helps for those that are not there. */

import { BackendUnavailableError, NotImplementedSpawnMethodError } from '../errors.ts'
import { lateAfter } from '../wire/late.ts'
import type { Backend } from './backend.ts'
import { DEFAULT_SPAWN_METHOD, isSpawnMethod, SEED_NAMES, SPAWN_METHODS, type SpawnMethod } from './methods.ts'

/** Keys that are kept for what is not there, with what stands in the way. */
const RESERVED: Partial<Record<SpawnMethod, string>> = {
  thread_fork:
    'fork(2) from a worker thread leaves a child without its main thread: no event loop of the main isolate, no signals, an exit that waits for ever. Use zygote, which forks a single-threaded process, or thread. `npm run smoke:fork` in a checkout shows it. See docs/backends/thread_fork.md.',
  zygote_threads:
    'actors in threads of a forked process: only a single-threaded process can be forked, and worker threads inside its children are unproven. Use zygote or thread. `npm run smoke:fork` in a checkout shows what forks are sound. See docs/backends/zygote_threads.md.',
}

const LOADERS: Partial<Record<SpawnMethod, () => Promise<Backend>>> = {
  spawn: async () => (await import('./spawn/parent.ts')).backend,
  fork: async () => (await import('./fork/parent.ts')).backend,
  thread: async () => (await import('./thread/parent.ts')).backend,
  vm: async () => (await import('./vm/parent.ts')).backend,
  zygote: async () => (await import('./zygote/parent.ts')).backend,
}

/** @throws BackendUnavailableError for a name that is none, with the valid ones, and the one that a reference name means */
export function checkName(name: unknown): SpawnMethod {
  if (isSpawnMethod(name)) return name
  const valid = SPAWN_METHODS.join(', ')
  const seed = typeof name === 'string' && Object.hasOwn(SEED_NAMES, name) ? SEED_NAMES[name] : undefined
  const hint = seed ? ` The backend ${JSON.stringify(name)} of the reference is ${JSON.stringify(seed)} here.` : ''
  throw new BackendUnavailableError(
    `unknown spawn backend ${JSON.stringify(name)}.${hint} Valid names: ${valid}.`,
    String(name),
  )
}

/**
 * The backend of a name.
 *
 * @throws BackendUnavailableError, NotImplementedSpawnMethodError
 */
export async function backendFor(name: unknown): Promise<Backend> {
  const method = checkName(name)
  const reserved = RESERVED[method]
  if (reserved !== undefined) {
    throw new NotImplementedSpawnMethodError(`spawn backend "${method}" cannot be used: ${reserved}`, method)
  }
  const backend = await LOADERS[method]!()
  const able = backend.available()
  if (able !== true) throw unavailable(method, able)
  return backend
}

const tested = new Map<SpawnMethod, Promise<true | string>>()
/** R-830 has 5 s: at a load of 18 a backend that works was refused then (DESIGN.md section 8). */
const TEST_MS = 20_000

/**
 * Is a backend there, and does it work here? The second is tried once in a process, with something real, at most 20 s
 * . `spawn` and `fork` need nothing that Node does not have, and are not tried.
 *
 * @throws BackendUnavailableError with platform, Node version, what is missing and which one works
 */
export async function checkBackend(name: unknown, load = backendFor): Promise<Backend> {
  const backend = await load(name)
  const { method } = backend
  if (method === 'spawn' || method === 'fork') return backend
  let test = tested.get(method)
  if (!test) {
    test = limited(backend.selfTest())
    tested.set(method, test)
  }
  const works = await test
  if (works !== true) {
    tested.delete(method)
    throw unavailable(method, works)
  }
  return backend
}

async function limited(test: Promise<true | string>): Promise<true | string> {
  let inTime = (): void => {}
  const late = new Promise<string>((resolve) => {
    inTime = lateAfter(TEST_MS, () => resolve(`its self-test did not end within ${TEST_MS} ms`))
  })
  try {
    return await Promise.race([test, late])
  } catch (error) {
    return `its self-test failed: ${error instanceof Error ? error.message : String(error)}`
  } finally {
    inTime()
  }
}

function unavailable(method: SpawnMethod, why: string): BackendUnavailableError {
  const here = `${process.platform} ${process.arch}, Node ${process.version}`
  return new BackendUnavailableError(
    `spawn backend "${method}" cannot be used here (${here}): ${why}. "${DEFAULT_SPAWN_METHOD}" works everywhere.`,
    method,
  )
}

let chosen: SpawnMethod | undefined
let warned = ''

/**
 * Chooses the backend of roots that are opened later, as `HARROW_BACKEND` does, which beats it.
 *
 * @returns the one that was chosen before, to be given back
 * @throws BackendUnavailableError when it is unknown, reserved, or does not work here
 */
export async function setSpawnMethod(name: SpawnMethod | undefined): Promise<SpawnMethod | undefined> {
  if (name !== undefined) await checkBackend(name)
  const before = chosen
  chosen = name
  return before
}

/**
 * Which backend is meant: `HARROW_BACKEND`, else what the caller says, else that of the tree, else the default.
 *
 * @throws BackendUnavailableError for an unknown name
 */
export function resolveSpawnMethod({
  caller,
  inherited,
}: {
  caller?: SpawnMethod | undefined
  inherited?: SpawnMethod | undefined
} = {}): SpawnMethod {
  const env = process.env.HARROW_BACKEND
  const explicit = caller === undefined ? undefined : checkName(caller)
  if (env) {
    const method = checkName(env)
    if (explicit !== undefined && explicit !== method && warned !== `${method}/${explicit}`) {
      warned = `${method}/${explicit}`
      process.emitWarning(`HARROW_BACKEND=${method} beats the backend "${explicit}" that the code asks for`, {
        code: 'HARROW_BACKEND_OVERRIDE',
      })
    }
    return method
  }
  return explicit ?? inherited ?? chosen ?? DEFAULT_SPAWN_METHOD
}
