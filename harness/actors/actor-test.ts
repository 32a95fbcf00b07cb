/** A test whose body is the root task of a fresh tree. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'vitest'
import { shapeOf } from '../../src/actor/endpoints.ts'
import {
  type Actor,
  type ActorNursery,
  currentActorOrNone,
  DEADLINES,
  openNursery,
  openRoot,
  type RootOptions,
} from '../../src/actor/index.ts'
import { UsageError } from '../../src/errors.ts'
import { failAfter, withSignal } from '../../src/scope/index.ts'
import type { SpawnMethod } from '../../src/spawn/methods.ts'
import { activeBackend, activeTransport } from '../backend.ts'
import type { Mark } from '../marks.ts'
import { regAddr } from './reg-addr.ts'
import { keepRuntime } from './restore.ts'

/** What the body of an {@link actorTest} gets. */
export interface ActorTestContext {
  root: Actor
  /** An open nursery; it is closed, with all of its actors, when the body has ended. */
  nursery: ActorNursery
  backend: SpawnMethod
  /** Registry address of this tree. */
  regAddr: string
  /** vitest's own context. */
  context: TestContext
}

export interface ActorTestOptions extends Mark {
  /** For the body, milliseconds. vitest's limit is made from it: body, teardown of the tree, and 2 s. @default 30_000 */
  timeout?: number
  /** Options of the root. */
  root?: RootOptions
}

const BODY_MS = 30_000
const SPARE_MS = 2000

/** The longest that a tree may take to end. */
function teardownMs({ deadlines }: RootOptions): number {
  const { nurseryCancel, hardKillAfter, killConfirm, threadAbandon, peersClear } = { ...DEADLINES, ...deadlines }
  return nurseryCancel + hardKillAfter + killConfirm + 2 * threadAbandon + 2 * peersClear
}

/** A test of this file that did not end, and whose tree is still there. */
let contaminated: string | undefined

/**
 * A test with an actor tree of its own, on the backend and the transport of the run. The body has a deadline of its own,
 * which passes before vitest's; whatever ends it, the tree is torn down before the next test begins.
 *
 * A test after one whose tree could not be torn down fails at once and says why.
 *
 * @param options vitest's options for a test, marks, `timeout` of the body, and `root`
 * @throws UsageError when the body is no async function
 * @example
 * ```ts
 * import { actorTest, skipOnBackend } from 'harrow/vitest'
 *
 * actorTest('starts an actor', skipOnBackend('vm'), async ({ nursery }) => {
 *   await nursery.startActor('idle')
 *   await nursery.cancel()
 * })
 * ```
 */
export function actorTest(name: string, body: (fixtures: ActorTestContext) => Promise<void>): void
export function actorTest(
  name: string,
  options: ActorTestOptions,
  body: (fixtures: ActorTestContext) => Promise<void>,
): void
export function actorTest(
  name: string,
  first: ActorTestOptions | ((fixtures: ActorTestContext) => Promise<void>),
  second?: (fixtures: ActorTestContext) => Promise<void>,
): void {
  const [given, body] = typeof first === 'function' ? [{}, first] : [first, second]
  if (shapeOf(body) !== 'async') throw new UsageError(`actorTest(${JSON.stringify(name)}) expects an async function.`)
  const { root = {}, timeout = BODY_MS, ...options } = given
  if (!Number.isFinite(timeout) || timeout <= 0) {
    throw new UsageError(`actorTest(${JSON.stringify(name)}): "timeout" is milliseconds above 0, got ${timeout}.`)
  }
  const outer = timeout + teardownMs(root) + SPARE_MS
  test(name, { ...options, timeout: outer } as object, async (context) => {
    refuseAfterContamination()
    const restore = keepRuntime()
    try {
      await runBody(name, timeout, root, body as never, context)
    } finally {
      restore()
      if (currentActorOrNone()) contaminated = name
    }
  })
}

function refuseAfterContamination(): void {
  if (contaminated === undefined) return
  if (!currentActorOrNone()) {
    contaminated = undefined
    return
  }
  throw new Error(`contaminated: the actor tree of "${contaminated}" is still open, since that test did not end`)
}

async function runBody(
  name: string,
  limitMs: number,
  options: RootOptions,
  body: (fixtures: ActorTestContext) => Promise<void>,
  context: TestContext,
): Promise<void> {
  const backend = activeBackend()
  const address = await regAddr()
  // vitest's own limit is the last resort: then its signal cancels the tree, whose end is waited for.
  await withSignal(context.signal, () =>
    openRoot(
      { registryAddrs: [address], enableTransports: [activeTransport()], spawnMethod: backend, ...options },
      (root) =>
        tellLogs(root, () =>
          failAfter(
            limitMs,
            () =>
              openNursery({ name }, async (nursery) => {
                await body({ root, nursery, backend, regAddr: address, context })
                await nursery.cancel()
              }),
            { what: `the body of ${JSON.stringify(name)}` },
          ),
        ),
    ),
  )
}

/** The output of actors goes to files: a failed test says where those are that did not end well. */
async function tellLogs(root: Actor, body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (error) {
    const folder = root.vars.logDir
    for (const name of folder ? logsIn(folder) : []) console.error(`log of an actor: ${join(folder as string, name)}`)
    throw error
  }
}

function logsIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
