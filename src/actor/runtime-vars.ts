/** What every actor of a tree knows, one struct. A child gets a copy of its parent's. */
import type { SpawnMethod } from '../spawn/methods.ts'
import type { TransportKind } from '../wire/transport.ts'
import { DEADLINES, type Deadlines } from './deadlines.ts'
import type { LogLevel } from './log.ts'

export interface RuntimeVars {
  isRoot: boolean
  /** uuid of the root: every process of the tree carries it as `HARROW_TREE`. */
  tree: string
  /** Address of the root's server. */
  rootMailbox: string | null
  rootAddrs: string[]
  enableTransports: Extract<TransportKind, 'uds' | 'tcp'>[]
  registryAddrs: string[]
  debugMode: boolean
  /** Signal that prints the task tree; `none` switches it off. */
  treeSignal: 'SIGUSR2' | 'none'
  logLevel: LogLevel
  spawnMethod: SpawnMethod
  spawnOpts: Record<string, unknown>
  deadlines: Deadlines
  /** Folder of the log files of this tree. */
  logDir: string | null
}

const DEFAULTS: Readonly<RuntimeVars> = Object.freeze<RuntimeVars>({
  isRoot: false,
  tree: '',
  rootMailbox: null,
  rootAddrs: [],
  enableTransports: ['uds'],
  registryAddrs: [],
  debugMode: false,
  treeSignal: 'SIGUSR2',
  logLevel: 'warning',
  spawnMethod: 'spawn',
  spawnOpts: {},
  deadlines: { ...DEADLINES },
  logDir: null,
})

const current: RuntimeVars = structuredClone(DEFAULTS) as RuntimeVars

/**
 * A copy of the runtime variables of this process; changing it changes nothing.
 *
 * @param options.clear the defaults instead
 */
export function getRuntimeVars(options: { clear?: boolean } = {}): RuntimeVars {
  return structuredClone(options.clear ? DEFAULTS : current) as RuntimeVars
}

/** Replaces the contents in place: whoever holds the struct of {@link liveRuntimeVars} sees it. */
export function setRuntimeVars(vars: Partial<RuntimeVars>): void {
  Object.assign(current, structuredClone({ ...DEFAULTS, ...vars }))
}

/** The struct itself, for the runtime. */
export function liveRuntimeVars(): Readonly<RuntimeVars> {
  return current
}
