import { LOG_LEVELS, type LogLevel } from '../src/actor/log.ts'
import { UsageError } from '../src/errors.ts'
import { isSpawnMethod, SPAWN_METHODS, type SpawnMethod } from '../src/spawn/methods.ts'
import { matrixOf } from './matrix.ts'
import { record, wrong } from './option-checks.ts'
import { type ResolvedZygote, type ZygoteOptions, zygoteOf } from './zygote-options.ts'

/** Limits of the supervisor, in milliseconds, and what it does after a hang. All have defaults. */
export interface HangOptions {
  /**
   * Added to vitest's own limit of a test or hook before a worker that does not answer is ended.
   * @default 1000
   */
  grace?: number
  /**
   * A worker that does not answer outside any test or hook with a limit of its own (fixture teardown, between tests,
   * tests with `timeout: 0`) is ended after this time.
   * @default 10_000
   */
  blocked?: number
  /**
   * Collection of one file: setup files, module evaluation, top-level await.
   * @default 60_000
   */
  collect?: number
  /**
   * Start of a worker, with its environment. Below vitest's own 60 s, which end the start without a reason.
   * @default 50_000
   */
  start?: number
  /**
   * Stop of a worker. @default vitest's `teardownTimeout` (10 s)
   */
  stop?: number
  /**
   * Teardown of fixtures, for which vitest has no limit. @default vitest's `hookTimeout` (10 s)
   */
  teardown?: number
  /**
   * A test or hook with the limit switched off (`timeout: 0`), and anything else that has none.
   * @default 300_000
   */
  untimed?: number
  /**
   * Time for a look at the worker threads and child processes that the hung test or hook has started, beside the rest;
   * Node processes among them are attached to for that moment (SIGUSR1, a loopback inspector). 0: they are not looked at.
   * @default 3000
   */
  others?: number
  /**
   * Run the rest of a file in a fresh worker after its worker was ended.
   * @default true
   */
  rerunRest?: boolean
  /**
   * After so many ended workers in one file its remaining tests are skipped with a note.
   * @default 3
   */
  maxPerFile?: number
  /**
   * `'rerun'`: a test whose promise is gone from the heap is run once more alone with promises traced, which names
   * the lost `await` and proves the loss; nothing of that run is reported. `'off'`: the class is named without a line.
   * @default 'rerun'
   */
  lost?: 'rerun' | 'off'
  /**
   * Up to how many MB of small objects in a worker's heap a heap snapshot is taken, which tells who holds what is awaited. It takes
   * some 280 bytes of memory and some microseconds for each object; by default one that would take more than 8 s is left out. Above
   * the limit, and with 0, the lines of all suspended functions come
   * from V8's async stacks, which is four times faster and needs no memory.
   * @default 160
   */
  snapshot?: number
}

/** What becomes of a finding. */
export type Severity = 'warn' | 'error' | 'off'

/** A leak that is fine. */
export interface LeakRule {
  kind?: string | RegExp
  /** Matched against the path of the line that made it. */
  site?: string | RegExp
}

/** A {@link LeakRule} for the worker: source and flags of the regular expressions. */
export interface LeakPattern {
  kind: Pattern | null
  site: Pattern | null
}
type Pattern = [source: string, flags: string]

/** Options of {@link harrow}. */
export interface HarrowOptions {
  /**
   * `'zygote'`: workers are forked from a process that has vitest and the test environment loaded already. Experimental;
   * Linux only, elsewhere and where it cannot work child processes run, and one line says so. It takes the place of vitest's
   * pool `forks`; see `docs/backends/zygote.md`.
   * @default 'wrap' (the pool of vitest that is configured)
   */
  pool?: 'wrap' | 'zygote'
  /** What the pool `zygote` loads, and which files it leaves alone. */
  zygote?: ZygoteOptions
  /** Limits of the supervisor; `false` leaves vitest's pool alone: leaks and orphans of tests are not looked for then. */
  hang?: HangOptions | false
  /**
   * Processes that outlive the file that started them (and those of a test with the `reaper` fixture). They are ended in
   * any case but `'off'`; `'warn'` reports them, `'error'` fails the test that started them too.
   * @default 'warn'
   */
  orphans?: Severity
  /**
   * How long such a process may take to end by itself before it is ended, milliseconds.
   * @default 500
   */
  orphanGrace?: number
  /**
   * Handles (timers, servers, sockets, watchers, workers, channels) that a test leaves open. `'warn'` reports them with
   * the line that made them, `'error'` fails the test too.
   * @default 'warn'
   */
  leaks?: Severity
  /** Leaks that are fine: each rule names a kind (`'Interval'`), a place (part of its path), or both. */
  ignoreLeaks?: LeakRule[]
  /**
   * Folder of the dumps, relative to vitest's root.
   * @default '.harrow/dumps'
   */
  dumpDir?: string
  /** Names of locals, parameters and environment variables that dumps never print, beside the built-in list. */
  redact?: (string | RegExp)[]
  /**
   * Print one line before the run that says what is watched.
   * @default false
   */
  header?: boolean
  /**
   * Load vitest and packages in workers through Node's compile cache (in vite's cache folder), which more than pays for
   * what supervision costs a worker. Off by itself with v8 coverage and where `NODE_COMPILE_CACHE` is set.
   * @default true
   */
  compileCache?: boolean
  /**
   * Backend of the actors of this run. `HARROW_BACKEND`, and with it `harrow test --backend`, beats it.
   * @default 'spawn'
   */
  backend?: SpawnMethod
  /**
   * Runs the suite once a backend, as one project each: a list, or `true` for `spawn`, `fork` and `thread`.
   * @default false
   */
  matrix?: boolean | readonly SpawnMethod[]
  /**
   * Transport between actors. `HARROW_TRANSPORT` beats it.
   * @default 'uds'
   */
  transport?: 'uds' | 'tcp'
  /**
   * How much of its own words the runtime writes in tests. `HARROW_LOGLEVEL` beats it.
   * @default 'warning'
   */
  logLevel?: LogLevel
}

/** Options with every default filled in; `null` is "take vitest's own value". */
export interface ResolvedOptions {
  /** Null: the pool of vitest's. */
  zygote: ResolvedZygote | null
  hang: {
    grace: number
    blocked: number
    collect: number
    start: number
    stop: number | null
    teardown: number | null
    untimed: number
    others: number
    rerunRest: boolean
    maxPerFile: number
    lost: 'rerun' | 'off'
    snapshot: number | null
  } | null
  orphans: Severity
  orphanGrace: number
  leaks: Severity
  ignoreLeaks: LeakPattern[]
  dumpDir: string
  redact: string[]
  header: boolean
  compileCache: boolean
  backend: SpawnMethod | null
  matrix: readonly SpawnMethod[] | null
  transport: 'uds' | 'tcp' | null
  logLevel: LogLevel | null
}

const HANG_LIMITS = ['grace', 'blocked', 'collect', 'start', 'stop', 'teardown', 'untimed', 'others'] as const
const HANG_KEYS: readonly string[] = [...HANG_LIMITS, 'rerunRest', 'maxPerFile', 'lost', 'snapshot']
const SEVERITIES = ['warn', 'error', 'off'] as const
const KEYS: readonly string[] = [
  'hang',
  'orphans',
  'orphanGrace',
  'leaks',
  'ignoreLeaks',
  'dumpDir',
  'redact',
  'header',
  'compileCache',
  'backend',
  'matrix',
  'transport',
  'logLevel',
  'pool',
  'zygote',
]
/** The largest delay of a Node timer (2^31 - 1 ms, `lib/internal/timers.js`). */
const MAX_MS = 2_147_483_647

/**
 * Checks options and fills in the defaults.
 * @throws UsageError naming the option, what was expected, what came, and the valid options
 */
export function resolveOptions(given: unknown = {}): ResolvedOptions {
  const options = record('harrow()', given, KEYS) as HarrowOptions
  const off = options.hang === false
  const hang = record(
    'harrow() option "hang"',
    options.hang === false ? {} : (options.hang ?? {}),
    HANG_KEYS,
  ) as HangOptions
  for (const key of HANG_LIMITS) limit(`hang.${key}`, hang[key])
  limit('orphanGrace', options.orphanGrace)
  for (const key of ['orphans', 'leaks'] as const) {
    const value: unknown = options[key]
    if (value !== undefined && !SEVERITIES.includes(value as Severity))
      throw wrong(key, "'warn', 'error' or 'off'", value)
  }
  boolean('hang.rerunRest', hang.rerunRest)
  boolean('header', options.header)
  boolean('compileCache', options.compileCache)
  if (hang.maxPerFile !== undefined && !(Number.isInteger(hang.maxPerFile) && hang.maxPerFile >= 1)) {
    throw wrong('hang.maxPerFile', 'a whole number of at least 1', hang.maxPerFile)
  }
  if (hang.lost !== undefined && hang.lost !== 'rerun' && hang.lost !== 'off') {
    throw wrong('hang.lost', "'rerun' or 'off'", hang.lost)
  }
  if (hang.snapshot !== undefined && !(Number.isFinite(hang.snapshot) && hang.snapshot >= 0)) {
    throw wrong('hang.snapshot', 'a number of MB of at least 0', hang.snapshot)
  }
  if (options.dumpDir !== undefined && (typeof options.dumpDir !== 'string' || options.dumpDir.trim() === '')) {
    throw wrong('dumpDir', 'a folder name', options.dumpDir)
  }
  if (options.backend !== undefined && !isSpawnMethod(options.backend)) {
    throw wrong('backend', `one of ${SPAWN_METHODS.join(', ')}`, options.backend)
  }
  if (options.transport !== undefined && !['uds', 'tcp'].includes(options.transport)) {
    throw wrong('transport', "'uds' or 'tcp'", options.transport)
  }
  if (options.logLevel !== undefined && !LOG_LEVELS.includes(options.logLevel)) {
    throw wrong('logLevel', `one of ${LOG_LEVELS.join(', ')}`, options.logLevel)
  }
  if (hang.rerunRest === false && hang.maxPerFile !== undefined) {
    throw new UsageError(
      'harrow() options contradict each other: "hang.maxPerFile" counts re-runs, and "hang.rerunRest" is false. Leave one of them out.',
    )
  }
  for (const key of ['leaks', 'orphans'] as const) {
    if (off && options[key] !== undefined && options[key] !== 'off') {
      throw new UsageError(
        `harrow() options contradict each other: "${key}" needs the supervision of workers, and "hang" is false. Leave one of them out.`,
      )
    }
  }
  return {
    zygote: zygoteOf(options.pool, options.zygote, off),
    hang: off
      ? null
      : {
          grace: hang.grace ?? 1000,
          blocked: hang.blocked ?? 10_000,
          collect: hang.collect ?? 60_000,
          start: hang.start ?? 50_000,
          stop: hang.stop ?? null,
          teardown: hang.teardown ?? null,
          untimed: hang.untimed ?? 300_000,
          others: hang.others ?? 3000,
          rerunRest: hang.rerunRest ?? true,
          maxPerFile: hang.maxPerFile ?? 3,
          lost: hang.lost ?? 'rerun',
          snapshot: hang.snapshot ?? null,
        },
    orphans: options.orphans ?? 'warn',
    orphanGrace: options.orphanGrace ?? 500,
    leaks: options.leaks ?? 'warn',
    ignoreLeaks: leakRules(options.ignoreLeaks),
    dumpDir: options.dumpDir ?? '.harrow/dumps',
    redact: redactions(options.redact),
    header: options.header ?? false,
    compileCache: options.compileCache ?? true,
    backend: options.backend ?? null,
    matrix: matrixOf(options.matrix),
    transport: options.transport ?? null,
    logLevel: options.logLevel ?? null,
  }
}

function limit(name: string, value: unknown): void {
  if (value === undefined) return
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0 || value > MAX_MS) {
    throw wrong(name, `milliseconds from 0 to ${MAX_MS}`, value)
  }
}

function boolean(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean') throw wrong(name, 'true or false', value)
}

function redactions(value: unknown): string[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw wrong('redact', 'a list of strings and regular expressions', value)
  return value.map((entry: unknown) => {
    if (entry instanceof RegExp) return entry.source
    if (typeof entry === 'string' && entry !== '') return escapeRegExp(entry)
    throw wrong('redact', 'non-empty strings and regular expressions', entry)
  })
}

function leakRules(value: unknown): ResolvedOptions['ignoreLeaks'] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw wrong('ignoreLeaks', 'a list of rules', value)
  const source = (entry: unknown, whole: boolean): Pattern | null => {
    if (entry === undefined) return null
    if (entry instanceof RegExp) return [entry.source, entry.flags.replace(/[gy]/g, '')]
    if (typeof entry !== 'string' || entry === '') throw wrong('ignoreLeaks', 'strings and regular expressions', entry)
    return [whole ? `^${escapeRegExp(entry)}$` : escapeRegExp(entry), '']
  }
  return value.map((rule: unknown) => {
    const { kind, site } = record('harrow() option "ignoreLeaks"', rule, ['kind', 'site']) as LeakRule
    if (kind === undefined && site === undefined) throw wrong('ignoreLeaks', 'rules with a kind or a site', rule)
    return { kind: source(kind, true), site: source(site, false) }
  })
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
