/** From the options of `startActor` to what a backend is asked for; everything wrong is said before anything is spawned. */
import { randomUUID } from 'node:crypto'
import { UsageError } from '../errors.ts'
import { childEnv } from '../spawn/env.ts'
import { childExecArgv } from '../spawn/exec-argv.ts'
import { isSpawnMethod } from '../spawn/methods.ts'
import { outputFor } from '../spawn/output.ts'
import { backendFor, resolveSpawnMethod } from '../spawn/registry.ts'
import type { Actor } from './actor.ts'
import type { ChildPlan } from './child.ts'
import { LINEAGE_ENV } from './ladder.ts'
import { checkLogLevel, log } from './log.ts'
import type { ActorOptions } from './nursery.ts'
import { CHILD_SIGINT, ON_PARENT_LOST } from './spec.ts'

const MODES = ['file', 'pipe', 'inherit'] as const
const KEYS: readonly string[] = [
  'spawnMethod',
  'spawnOpts',
  'modules',
  'logLevel',
  'output',
  'env',
  'inheritExecArgv',
  'onParentLost',
  'childSigint',
  'bindAddrs',
  'debugMode',
]

/**
 * @throws UsageError for a wrong option, BackendUnavailableError for a backend that is unknown or cannot work here
 */
export async function planChild(
  actor: Actor,
  name: string,
  modules: readonly (string | URL)[],
  options: ActorOptions,
): Promise<ChildPlan> {
  check(name, options)
  const method = resolveSpawnMethod({ caller: options.spawnMethod, inherited: actor.vars.spawnMethod })
  const backend = await backendFor(method)
  const { vars } = actor
  const uuid = randomUUID()
  const own = actor.lineage === '' ? actor.aid.uuid.slice(0, 8) : actor.lineage
  const lineage = `${own}.${uuid.slice(0, 8)}`
  const { onParentLost = 'cancel', childSigint = 'ipc', output = 'file' } = options
  const urls = modules.map(urlOf)
  return {
    name,
    uuid,
    backend,
    request: {
      execArgv: childExecArgv(options.inheritExecArgv ?? true),
      env: {
        ...childEnv({ tree: vars.tree, backend: method }),
        [LINEAGE_ENV]: lineage,
        ...options.env,
      },
      output: outputFor(output, {
        name,
        uuid,
        logDir: vars.logDir,
        line: (stream, text) => log('info', `${stream}: ${text}`, name),
      }),
      options: backend.checkOptions({
        ...vars.spawnOpts,
        ...options.spawnOpts,
        ...(onParentLost === 'stay' && { onParentLost }),
      }),
    },
    spec: {
      vars: {
        ...vars,
        isRoot: false,
        spawnMethod: method,
        logLevel: options.logLevel ?? vars.logLevel,
        debugMode: options.debugMode ?? vars.debugMode,
      },
      modules: urls,
      regAddrs: vars.registryAddrs,
      bindAddrs: [...(options.bindAddrs ?? [])],
      onParentLost,
      childSigint,
      lineage,
    },
  }
}

/** @throws UsageError for a relative path, which would mean another file in each actor */
function urlOf(module: string | URL): string {
  if (module instanceof URL) return module.href
  if (typeof module === 'string') {
    if (/^(file|data|node|https?):/.test(module)) return module
    if (module.startsWith('/')) return new URL(`file://${encodeURI(module)}`).href
  }
  throw new UsageError(
    `an actor's module is a URL, such as new URL('./tally.ts', import.meta.url), or an absolute path; got ${JSON.stringify(module)}.`,
  )
}

function check(name: string, options: ActorOptions): void {
  if (typeof name !== 'string' || name === '') {
    throw new UsageError(`an actor's name is a text that is not empty, got ${JSON.stringify(name)}.`)
  }
  for (const key of Object.keys(options)) {
    if (!KEYS.includes(key)) {
      throw new UsageError(`an actor has no option "${key}". Valid options: module, name, args, ${KEYS.join(', ')}.`)
    }
  }
  oneOf('output', options.output, MODES)
  oneOf('onParentLost', options.onParentLost, ON_PARENT_LOST)
  oneOf('childSigint', options.childSigint, CHILD_SIGINT)
  if (options.logLevel !== undefined) checkLogLevel(options.logLevel)
  if (options.spawnMethod !== undefined && !isSpawnMethod(options.spawnMethod)) {
    resolveSpawnMethod({ caller: options.spawnMethod })
  }
}

function oneOf(name: string, value: unknown, valid: readonly string[]): void {
  if (value === undefined || valid.includes(value as string)) return
  throw new UsageError(
    `option "${name}" expects ${valid.map((one) => `'${one}'`).join(' or ')}, got ${JSON.stringify(value)}.`,
  )
}
