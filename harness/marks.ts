/** Statements on tests about backends: options for `test` and `describe`, and the same for a whole file. */
import { type TestOptions, TestRunner } from 'vitest'
import { UsageError } from '../src/errors.ts'
import { isSpawnMethod, SEED_NAMES, SPAWN_METHODS, type SpawnMethod } from '../src/spawn/methods.ts'
import { activeBackend, activeTransport } from './backend.ts'

/** Why a test is skipped, in `task.meta`; reporters read it. */
export interface MarkMeta {
  harrowSkip?: string
  /** Expected to fail, with the reason. */
  harrowXfail?: string
  harrowNestedActors?: true
}

/** What a mark gives: test options, with the reason in `meta`. */
export type Mark = TestOptions & { meta?: MarkMeta }

/** Reason of a mark; it reaches the verbose, JSON and JUnit output. */
export interface MarkOptions {
  reason?: string
}

export type BackendArgs<Options = MarkOptions> =
  | [SpawnMethod, ...SpawnMethod[]]
  | [SpawnMethod, ...SpawnMethod[], Options]

interface Marker<Options = MarkOptions> {
  (...args: BackendArgs<Options>): Mark
  /** The same for all tests of the file that are declared after it; call it first. */
  file(...args: BackendArgs<Options>): void
}

/**
 * Skips a test, or a suite with all that is in it, on some backends. The nearest scope is looked at first, and the first
 * mark that matches gives the reason; a mark that does not match hides none around it. Nothing of a skipped test
 * runs, no fixture and no hook of a skipped suite.
 *
 * @param args one or more backends, and `{ reason }`
 * @throws UsageError at collection for a name that is no backend, also when it is not the active one
 * @example
 * ```ts
 * import { skipOnBackend } from 'harrow/vitest'
 * import { describe, test } from 'vitest'
 *
 * test('gets a signal', skipOnBackend('thread', { reason: 'a thread has no signals' }), () => {})
 * describe('with a limit', { ...skipOnBackend('thread', 'vm'), timeout: 1000 }, () => {})
 * ```
 */
export const skipOnBackend: Marker = marker('skipOnBackend', (names, active, reason) =>
  names.includes(active) ? { skip: true, why: reason ?? `not supported on the backend "${active}"` } : undefined,
)

/**
 * Runs a test on some backends only; the rest as {@link skipOnBackend}.
 *
 * @example
 * ```ts
 * import { onlyOnBackend } from 'harrow/vitest'
 * import { test } from 'vitest'
 *
 * test('has a pid of its own', onlyOnBackend('spawn', 'fork'), () => {})
 * ```
 */
export const onlyOnBackend: Marker = marker('onlyOnBackend', (names, active, reason) =>
  names.includes(active)
    ? undefined
    : { skip: true, why: reason ?? `only for ${names.join(', ')}, this is "${active}"` },
)

/**
 * Expects a test to fail on some backends; one that passes there fails (strict, R-707).
 *
 * @example
 * ```ts
 * import { xfailOnBackend } from 'harrow/vitest'
 * import { expect, test } from 'vitest'
 *
 * test('is not fixed yet', xfailOnBackend('thread', { reason: 'see docs/backends/README.md' }), () => {
 *   expect(1).toBe(1)
 * })
 * ```
 */
export const xfailOnBackend: Marker = marker('xfailOnBackend', (names, active, reason) =>
  names.includes(active) ? { fails: true, why: reason ?? `expected to fail on the backend "${active}"` } : undefined,
)

/** Skips a test when the run uses that transport. */
export function noTransport(kind: 'uds' | 'tcp', options: MarkOptions = {}): Mark {
  if (kind !== 'uds' && kind !== 'tcp') {
    throw usage(`noTransport: ${JSON.stringify(kind)} is no transport. Valid names: "uds", "tcp".`, noTransport)
  }
  if (activeTransport() !== kind) return {}
  return {
    skip: true,
    meta: { harrowSkip: outerReason() ?? options.reason ?? `not supported on the transport "${kind}"` },
  }
}

/** Says that a test starts actors below actors; reporters and limits may look at it. */
export function hasNestedActors(): Mark {
  return { meta: { harrowNestedActors: true } }
}

/**
 * Puts several marks together; of those that match, the first gives the reason. Spreading them would keep the last.
 *
 * @example
 * ```ts
 * import { marks, noTransport, skipOnBackend } from 'harrow/vitest'
 * import { test } from 'vitest'
 *
 * test('needs both', marks(skipOnBackend('thread'), noTransport('tcp')), () => {})
 * ```
 */
export function marks(...all: Mark[]): Mark {
  const merged: Mark = {}
  const meta: MarkMeta = {}
  for (const mark of all.toReversed()) {
    Object.assign(merged, mark)
    Object.assign(meta, mark.meta)
  }
  return { ...merged, meta }
}

type Verdict = { skip?: true; fails?: true; why: string } | undefined

function marker(
  name: string,
  judge: (names: readonly SpawnMethod[], active: SpawnMethod, reason: string | undefined) => Verdict,
): Marker {
  const mark: Marker = (...args) => toOptions(judge(...read(name, args, mark)))
  mark.file = (...args) => toFile(name, judge(...read(name, args, mark.file)), mark.file)
  return mark
}

function toOptions(verdict: Verdict): Mark {
  if (!verdict) return {}
  const { skip, fails, why } = verdict
  if (fails) return { fails, meta: { harrowXfail: why } }
  return { skip: skip ?? true, meta: { harrowSkip: outerReason() ?? why } }
}

interface Collector {
  options?: Mark
  tasks: unknown[]
  file?: { meta: MarkMeta }
  suite?: { meta: MarkMeta }
}

const collector = (): Collector => TestRunner.getCurrentSuite() as unknown as Collector

/** A suite around this one that is skipped already keeps its reason. */
function outerReason(): string | undefined {
  return collector().options?.meta?.harrowSkip
}

/** Sets the options of the file's own suite, which what is declared later takes over. */
function toFile(name: string, verdict: Verdict, at: (...args: never[]) => unknown): void {
  const suite = collector()
  if (suite.tasks.length > 0) {
    throw usage(`${name}.file() comes before the tests of its file, and ${suite.tasks.length} stand before it.`, at)
  }
  if (!verdict) return
  if (verdict.fails) throw usage(`${name}.file() cannot be: mark the tests that are to fail.`, at)
  suite.options = { ...suite.options, skip: true, meta: { ...suite.options?.meta, harrowSkip: verdict.why } }
  if (suite.file) suite.file.meta.harrowSkip = verdict.why
}

function read(
  name: string,
  args: readonly unknown[],
  at: (...args: never[]) => unknown,
): [names: SpawnMethod[], active: SpawnMethod, reason: string | undefined] {
  const last = args.at(-1)
  const options = typeof last === 'object' && last !== null ? (last as MarkOptions) : undefined
  const names = options ? args.slice(0, -1) : args
  if (names.length === 0) throw usage(`${name}: expected at least one backend. Valid names: ${valid()}.`, at)
  for (const one of names) {
    if (isSpawnMethod(one)) continue
    const seed =
      typeof one === 'string' && Object.hasOwn(SEED_NAMES, one) ? ` ("${SEED_NAMES[one]}" is meant here)` : ''
    throw usage(`${name}: unknown backend ${JSON.stringify(one)}${seed}. Valid names: ${valid()}.`, at)
  }
  for (const key of Object.keys(options ?? {})) {
    if (key !== 'reason') throw usage(`${name}: unknown option ${JSON.stringify(key)}; there is { reason }.`, at)
  }
  return [names as SpawnMethod[], activeBackend(), options?.reason]
}

const valid = (): string => SPAWN_METHODS.map((name) => `"${name}"`).join(', ')

/** The stack begins where the mark stands. */
function usage(message: string, at: (...args: never[]) => unknown): UsageError {
  const error = new UsageError(message)
  Error.captureStackTrace(error, at)
  return error
}
