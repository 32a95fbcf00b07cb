/** The first actor of a tree. */

import { randomUUID } from 'node:crypto'
import { rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { Interrupted, isCancelled, isMultiCancelled, RuntimeFailure, thrownText, UsageError } from '../errors.ts'
import { clearTick, setTick } from '../process/clean.ts'
import { ownStart } from '../process/identity.ts'
import { makeFolder } from '../process/make-folder.ts'
import { nodeProblem } from '../process/node-version.ts'
import { currentScope, runDetached, type Scope, shield, TaskNursery } from '../scope/index.ts'
import { MAX_MS, shown } from '../scope/limits.ts'
import { heldFor } from '../scope/scope.ts'
import { endBackends } from '../spawn/at-runtime-end.ts'
import type { SpawnMethod } from '../spawn/methods.ts'
import { checkBackend, resolveSpawnMethod } from '../spawn/registry.ts'
import { abandonedThreads, leaveThreadsBehind } from '../spawn/thread/abandoned.ts'
import {
  type AddressLike,
  defaultRegistryAddress,
  formatAddress,
  parseAddress,
  runtimeDir,
  socketAddress,
} from '../wire/address.ts'
import { Actor, processActor, setProcessActor } from './actor.ts'
import { DEADLINES, type Deadlines } from './deadlines.ts'
import { electRegistrar } from './election.ts'
import { endActor } from './end-actor.ts'
import { type LogLevel, log, resolveLogLevel, setLogLevel, setLogName } from './log.ts'
import { registerEverywhere } from './registration.ts'
import { Registry } from './registry.ts'
import { getRuntimeVars, type RuntimeVars, setRuntimeVars } from './runtime-vars.ts'
import { Server } from './server.ts'
import { watchInterrupts } from './signals.ts'
import { tidyUp } from './tidy.ts'
import { watchTreeSignal } from './tree-signal.ts'

/** How a root is opened; everything has a default. */
export interface RootOptions {
  /** Name of this actor. @default 'root'; with `null`, `registrar` or `anonymous` by what it becomes */
  name?: string | null
  /**
   * Registrars to join, or to become when nobody answers there. @default the one that all programs of this user share; when
   * that is held by a program that gives no answer, one of this tree's own, with a warning
   */
  registryAddrs?: readonly AddressLike[]
  /** More addresses to listen at. */
  bindAddrs?: readonly AddressLike[]
  /** Fail instead of joining a registrar that is there already. @default false */
  ensureRegistry?: boolean
  /** Exactly one for now. `HARROW_TRANSPORT` is the default, else `['uds']`. */
  enableTransports?: readonly ('uds' | 'tcp')[]
  /** Backend of all actors of the tree. `HARROW_BACKEND` beats it. @default 'spawn' */
  spawnMethod?: SpawnMethod
  /** Options of the backend, for all actors of the tree. */
  spawnOpts?: Record<string, unknown>
  /** @default 'warning'; `HARROW_LOGLEVEL` beats it */
  logLevel?: LogLevel
  /** Limits that differ from the defaults, milliseconds; they reach every actor of the tree. */
  deadlines?: Partial<Deadlines>
  /** Modules that other actors may call functions of. */
  modules?: readonly (string | URL)[]
  /** Take SIGINT: it cancels the tree. @default true in a main thread */
  handleSignals?: boolean
  /** Signal that prints the task tree. `HARROW_TREE_SIGNAL` beats it. @default 'none' */
  treeSignal?: 'SIGUSR2' | 'none'
  debugMode?: boolean
}

const KEYS: readonly string[] = [
  'name',
  'registryAddrs',
  'bindAddrs',
  'ensureRegistry',
  'enableTransports',
  'spawnMethod',
  'spawnOpts',
  'logLevel',
  'deadlines',
  'modules',
  'handleSignals',
  'treeSignal',
  'debugMode',
]

/** While a root is open the process must not end for want of something to wait for. */
const KEEP_ALIVE_MS = 2 ** 30

/**
 * Opens the runtime, runs `body` as its root task, and closes it: actors are cancelled, addresses given back.
 *
 * SIGINT cancels the tree with {@link Interrupted}; a second one skips to SIGKILL, a third ends this process at once.
 *
 * @returns what the body returns
 * @throws RuntimeFailure when a runtime is open in this process; UsageError for a wrong option; what the body throws
 * @example
 * ```ts
 * import { openRoot } from 'harrow'
 *
 * await openRoot({ spawnMethod: 'thread' }, async (root) => {
 *   console.log(root.aid.name)
 * })
 * ```
 */
export async function openRoot<T>(body: (root: Actor) => Promise<T>): Promise<T>
export async function openRoot<T>(options: RootOptions, body: (root: Actor) => Promise<T>): Promise<T>
export async function openRoot<T>(
  first: RootOptions | ((root: Actor) => Promise<T>),
  second?: (root: Actor) => Promise<T>,
): Promise<T> {
  const [options, body] = typeof first === 'function' ? [{}, first] : [first, second]
  if (typeof body !== 'function') throw new UsageError(`openRoot() expects a function, got ${typeof body}.`)
  check(options)
  const old = nodeProblem()
  if (old) throw new UsageError(`${old}. Run the program with one.`)
  const open = processActor()
  if (open) throw new RuntimeFailure(`${open} is already open in this process: there is one root in a process.`)
  if (opening) throw new RuntimeFailure('a root is already being opened in this process.')
  opening = true
  const keepAlive = setTick(() => {}, KEEP_ALIVE_MS)
  const outer = currentScope()
  try {
    outer.throwIfCancelled()
    return await runDetached({ name: 'root' }, async (scope) => {
      const forget = outer.onCancel((reason) => scope.cancel(reason))
      try {
        const actor = await heldFor(() => makeRoot(options, scope))
        return await live(actor, body, options)
      } finally {
        forget()
      }
    })
  } catch (error) {
    if (isInterrupt(error)) exitAsInterrupted()
    throw error
  } finally {
    opening = false
    clearTick(keepAlive)
  }
}

let opening = false

async function makeRoot(options: RootOptions, scope: ReturnType<typeof currentScope>): Promise<Actor> {
  const transport = options.enableTransports?.[0] ?? transportOfEnvironment()
  const spawnMethod = resolveSpawnMethod({ caller: options.spawnMethod })
  await checkBackend(spawnMethod)
  const registryAddrs = (options.registryAddrs ?? [defaultRegistryAddress(transport)]).map(parseAddress)
  const foreign = registryAddrs.filter((address) => address.kind !== transport)
  if (foreign.length > 0) {
    throw new UsageError(
      `registry address ${foreign.map(formatAddress).join(', ')} needs a transport that is not enabled; enabled: ${transport}.`,
    )
  }
  const uuid = randomUUID()
  const vars: RuntimeVars = {
    ...getRuntimeVars({ clear: true }),
    isRoot: true,
    tree: uuid,
    enableTransports: [transport],
    registryAddrs: registryAddrs.map(formatAddress),
    debugMode: options.debugMode ?? false,
    treeSignal: treeSignal(options.treeSignal),
    logLevel: resolveLogLevel(options.logLevel),
    spawnMethod,
    spawnOpts: { ...options.spawnOpts },
    deadlines: { ...DEADLINES, ...options.deadlines },
    logDir: makeLogDir(uuid),
  }
  setLogLevel(vars.logLevel)
  const elected = await electRegistrar(registryAddrs, {
    deadlines: vars.deadlines,
    ensure: options.ensureRegistry ?? false,
    shared: options.registryAddrs === undefined,
  })
  vars.registryAddrs = elected.addresses.map(formatAddress)
  const name = options.name === null ? (elected.registrar ? 'registrar' : 'anonymous') : (options.name ?? 'root')
  setLogName(name)
  const actor = new Actor({
    aid: { name, uuid, pid: process.pid },
    spawnMethod: 'root',
    vars,
    scope,
    importModule: (url) => import(url) as Promise<Record<string, unknown>>,
  })
  await actor.modules.expose((options.modules ?? []).map(String))
  const server = new Server(actor)
  actor.server = server
  try {
    const bindAddrs = (options.bindAddrs ?? []).map(parseAddress)
    if (elected.registrar) {
      actor.registry = new Registry()
      const lost = await elected.bind(server)
      if (lost) actor.registry = undefined
    }
    const own = actor.registry ? [] : [socketAddress(transport, name)]
    const bound = new Set(server.addresses.map(formatAddress))
    for (const address of [...(bindAddrs.length > 0 ? bindAddrs : own)]) {
      if (!bound.has(formatAddress(address))) await server.bind(address)
    }
    actor.addresses = server.addresses
    const addrs = actor.addresses.map(formatAddress)
    if (actor.registry) {
      vars.registryAddrs = vars.registryAddrs.map((text, index) =>
        text.endsWith(':0') ? (addrs[index] ?? text) : text,
      )
    }
    vars.rootMailbox = addrs[0] ?? null
    vars.rootAddrs = addrs
    setRuntimeVars(vars)
    setProcessActor(actor)
    if (actor.registry) actor.registry.register(actor.aid, addrs)
    else {
      await registerEverywhere(actor)
    }
    return actor
  } catch (error) {
    await server.refuse()
    close(actor)
    throw error
  }
}

async function live<T>(actor: Actor, body: (root: Actor) => Promise<T>, options: RootOptions): Promise<T> {
  const signals = (options.handleSignals ?? true) && isMainThread ? watchInterrupts(actor) : undefined
  const tree = watchTreeSignal(actor)
  try {
    return await runDetached({ name: actor.aid.name, host: actor, parent: actor.scope }, (scope) =>
      runMain(scope, () => body(actor)),
    )
  } finally {
    const { deadlines } = actor.vars
    try {
      await shield(2 * deadlines.peersClear + deadlines.nurseryCancel, 'the end of the root', () => endActor(actor))
    } catch (error) {
      log('critical', `the root did not end in order: ${thrownText(error)}`)
    }
    await shield(2 * deadlines.killConfirm, 'the end of what backends keep', endBackends).catch(() => {})
    signals?.()
    tree()
    await tidyUp()
    close(actor)
    if (abandonedThreads() > 0) leaveThreadsBehind()
  }
}

/** As a task: what it waits for stands in dumps. It is never given up; a second and third SIGINT end it. */
async function runMain<T>(scope: Scope, body: () => Promise<T>): Promise<T> {
  const nursery = new TaskNursery(scope, { name: scope.name, supervise: 'none', graceMs: Number.POSITIVE_INFINITY })
  try {
    return await nursery.spawn(body, { name: 'main' }).result
  } finally {
    nursery.close()
  }
}

function close(actor: Actor): void {
  if (processActor() === actor) setProcessActor(undefined)
  setRuntimeVars(getRuntimeVars({ clear: true }))
  if (actor.vars.logDir) removeIfEmpty(actor.vars.logDir)
}

function transportOfEnvironment(): 'uds' | 'tcp' {
  const value = process.env.HARROW_TRANSPORT
  if (value === undefined || value === '') return 'uds'
  if (value === 'uds' || value === 'tcp') return value
  throw new UsageError(`HARROW_TRANSPORT expects 'uds' or 'tcp', got ${JSON.stringify(value)}.`)
}

function treeSignal(caller: RootOptions['treeSignal']): 'SIGUSR2' | 'none' {
  const value = process.env.HARROW_TREE_SIGNAL || caller || 'none'
  if (value === 'SIGUSR2' || value === 'none') return value
  throw new UsageError(`the tree signal is 'SIGUSR2' or 'none', got ${JSON.stringify(value)}.`)
}

function makeLogDir(tree: string): string | null {
  try {
    // The sweep reads from the name whose it is, and by which label its processes are known: src/reap/left-by-actors.ts
    const folder = join(runtimeDir(), 'logs', `${tree}.${process.pid}.${ownStart()}`)
    makeFolder(folder, 0o700)
    return folder
  } catch (error) {
    log('warning', `no folder for the logs of actors: ${thrownText(error)}`)
    return null
  }
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // Logs of actors that failed are left for whoever looks into it.
  }
}

function check(options: RootOptions): void {
  if (typeof options !== 'object' || options === null)
    throw new UsageError(`openRoot() expects options, got ${options}.`)
  for (const key of Object.keys(options)) {
    if (!KEYS.includes(key)) {
      throw new UsageError(`openRoot() has no option "${key}". Valid options: ${KEYS.join(', ')}.`)
    }
  }
  const transports = options.enableTransports
  if (transports !== undefined && (transports.length !== 1 || !['uds', 'tcp'].includes(transports[0] as string))) {
    throw new UsageError(`option "enableTransports" expects ['uds'] or ['tcp'], got ${JSON.stringify(transports)}.`)
  }
  const { deadlines = {} } = options
  if (typeof deadlines !== 'object' || deadlines === null)
    throw new UsageError(`option "deadlines" expects an object of milliseconds by name, got ${shown(deadlines)}.`)
  for (const [key, value] of Object.entries(deadlines)) {
    if (!Object.hasOwn(DEADLINES, key))
      throw new UsageError(`there is no deadline "${key}": ${Object.keys(DEADLINES).join(', ')}.`)
    const ms: unknown = value
    if (typeof ms !== 'number' || !(ms >= 0 && ms <= MAX_MS)) {
      throw new UsageError(
        `deadline "${key}" expects milliseconds from 0 to ${MAX_MS}, got ${shown(ms)}: no wait of the runtime is without a bound.`,
      )
    }
  }
}

function isInterrupt(error: unknown): boolean {
  if (error instanceof Interrupted) return true
  if (error instanceof AggregateError) return isMultiCancelled(error) && error.errors.some(isInterrupt)
  return isCancelled(error) && isInterrupt((error as Error).cause)
}

let watched = false

/** An uncaught {@link Interrupted} ends the process with 130, as a shell expects of SIGINT. */
function exitAsInterrupted(): void {
  process.exitCode ??= 130
  if (watched) return
  watched = true
  process.once('exit', (code) => {
    if (code === 1) process.exitCode = 130
  })
}

/**
 * Opens a root that serves its modules until it is cancelled. Ended by SIGINT, it ends its own process by SIGINT.
 *
 * @param modules URLs of the modules whose functions it offers
 */
export async function runDaemon(
  modules: readonly (string | URL)[],
  options: Omit<RootOptions, 'modules'> & { ready?: (root: Actor) => void } = {},
): Promise<void> {
  const { ready, ...rest } = options
  try {
    await openRoot({ ...rest, modules }, async (root) => {
      ready?.(root)
      await root.serving()
    })
  } catch (error) {
    if (!isInterrupt(error)) throw error
    log('cancel', 'interrupted')
    process.kill(process.pid, 'SIGINT')
  }
}
