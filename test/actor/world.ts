/** What the tests of the runtime share: a tree of its own for each, and looks at processes from outside. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Actor, openRoot, type RootOptions } from '../../src/actor/index.ts'
import { identify, isRunning, type ProcessIdentity } from '../../src/process/identity.ts'
import { failAfter } from '../../src/scope/index.ts'
import type { SpawnMethod } from '../../src/spawn/methods.ts'

const env = process.env.HARROW_BACKEND as SpawnMethod | undefined

/**
 * Backends of this run, or the one that `HARROW_BACKEND` names. `zygote` is asked for by name (`HARROW_BACKEND=zygote npm test --
 * test/actor`): each test starts a zygote of its own, which doubles the time of these files. `test/spawn/zygote.test.ts` runs always.
 */
export const BACKENDS: readonly SpawnMethod[] = env ? [env] : ['spawn', 'fork', 'thread']
export const PROCESS_BACKENDS: readonly SpawnMethod[] = BACKENDS.filter(
  (backend) => backend === 'spawn' || backend === 'fork' || backend === 'zygote',
)

export const moduleOf = (name: string): URL => new URL(`../fixtures/actors/${name}.ts`, import.meta.url)
export const TALLY = moduleOf('tally')
export const RUDE = moduleOf('rude')
export const NEST = moduleOf('nest')

/** A busy machine must not make an acknowledgement late where the order of things is looked at, or who acknowledged. */
export const PATIENT: RootOptions = { deadlines: { cancelAck: 15_000, nurseryCancel: 15_000 } }

const LIMIT_MS = 55_000

/** Opens a root with a registry of its own, in a runtime folder of its own. */
export async function tree<T>(
  backend: SpawnMethod,
  body: (root: Actor) => Promise<T>,
  options: RootOptions = {},
): Promise<T> {
  const before = process.env.HARROW_BACKEND
  process.env.HARROW_BACKEND = ''
  try {
    return await inFolder((folder) =>
      // Below vitest's own limit, so that a test that hangs does not leave its root to the next one.
      failAfter(
        LIMIT_MS,
        () =>
          openRoot(
            { spawnMethod: backend, registryAddrs: [`unix:${folder}/r.sock`], logLevel: 'critical', ...options },
            body,
          ),
        { what: 'the test' },
      ),
    )
  } finally {
    if (before === undefined) delete process.env.HARROW_BACKEND
    else process.env.HARROW_BACKEND = before
  }
}

/** A folder that is gone afterwards. */
export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'hrw-'))
  try {
    return await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Waits until it holds. @throws with what was waited for, after `limitMs` */
export async function eventually(what: string, holds: () => unknown, limitMs = 20_000): Promise<void> {
  const until = performance.now() + limitMs
  while (!(await holds())) {
    if (performance.now() > until) throw new Error(`not within ${limitMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Where an actor of the tree can be dialled, once it has registered. */
export async function addressesOf(root: Actor, uuid: string): Promise<string[]> {
  await eventually('it is registered', () => root.registry?.get(uuid))
  return root.registry?.get(uuid)?.addrs ?? []
}

/** A process for later: a pid alone may be somebody else's by then. */
export function known(pid: number): ProcessIdentity {
  const identity = identify(pid)
  if (!identity) throw new Error(`there is no process ${pid}`)
  return identity
}

export const gone = (identity: ProcessIdentity): boolean => !isRunning(identity)

/** The error that a promise is rejected with. @throws when it is not */
export async function failure(promise: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  const nothing = Symbol('nothing')
  const error: unknown = await promise.then(
    () => nothing,
    (reason) => reason,
  )
  if (error === nothing) throw new Error('it did not fail')
  return error as never
}
