import { UsageError } from '../src/errors.ts'

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
}

/** Options of {@link harrow}. */
export interface HarrowOptions {
  /** Limits of the supervisor; `false` leaves vitest's pool alone. */
  hang?: HangOptions | false
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
}

/** Options with every default filled in; `null` is "take vitest's own value". */
export interface ResolvedOptions {
  hang: {
    grace: number
    blocked: number
    collect: number
    start: number
    stop: number | null
    teardown: number | null
    untimed: number
    rerunRest: boolean
    maxPerFile: number
    lost: 'rerun' | 'off'
  } | null
  dumpDir: string
  redact: string[]
  header: boolean
  compileCache: boolean
}

const HANG_LIMITS = ['grace', 'blocked', 'collect', 'start', 'stop', 'teardown', 'untimed'] as const
const HANG_KEYS: readonly string[] = [...HANG_LIMITS, 'rerunRest', 'maxPerFile', 'lost']
const KEYS: readonly string[] = ['hang', 'dumpDir', 'redact', 'header', 'compileCache']
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
  boolean('hang.rerunRest', hang.rerunRest)
  boolean('header', options.header)
  boolean('compileCache', options.compileCache)
  if (hang.maxPerFile !== undefined && !(Number.isInteger(hang.maxPerFile) && hang.maxPerFile >= 1)) {
    throw wrong('hang.maxPerFile', 'a whole number of at least 1', hang.maxPerFile)
  }
  if (hang.lost !== undefined && hang.lost !== 'rerun' && hang.lost !== 'off') {
    throw wrong('hang.lost', "'rerun' or 'off'", hang.lost)
  }
  if (options.dumpDir !== undefined && (typeof options.dumpDir !== 'string' || options.dumpDir.trim() === '')) {
    throw wrong('dumpDir', 'a folder name', options.dumpDir)
  }
  if (hang.rerunRest === false && hang.maxPerFile !== undefined) {
    throw new UsageError(
      'harrow() options contradict each other: "hang.maxPerFile" counts re-runs, and "hang.rerunRest" is false. Leave one of them out.',
    )
  }
  return {
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
          rerunRest: hang.rerunRest ?? true,
          maxPerFile: hang.maxPerFile ?? 3,
          lost: hang.lost ?? 'rerun',
        },
    dumpDir: options.dumpDir ?? '.harrow/dumps',
    redact: redactions(options.redact),
    header: options.header ?? false,
    compileCache: options.compileCache ?? true,
  }
}

function record(what: string, value: unknown, keys: readonly string[]): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${what} expects an object, got ${show(value)}. Valid options: ${keys.join(', ')}.`)
  }
  for (const key of Object.keys(value)) {
    if (keys.includes(key)) continue
    const near = nearest(key, keys)
    const guess = near ? ` Did you mean "${near}"?` : ''
    throw new UsageError(`${what} has no option "${key}".${guess} Valid options: ${keys.join(', ')}.`)
  }
  return value
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

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

function wrong(name: string, expected: string, came: unknown): UsageError {
  return new UsageError(`harrow() option "${name}" expects ${expected}, got ${show(came)}.`)
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}

/** The valid key that is at most two edits away. */
function nearest(key: string, keys: readonly string[]): string | undefined {
  return keys
    .map((k) => ({ k, d: distance(key.toLowerCase(), k.toLowerCase()) }))
    .filter((x) => x.d <= 2)
    .sort((a, b) => a.d - b.d)[0]?.k
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}
