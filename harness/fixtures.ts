/** Fixtures for vitest's `test.extend`, and the same by hand. */
import type { ChildProcess } from 'node:child_process'
import { UsageError } from '../src/errors.ts'
import type { ResourceSnapshot } from '../src/inspect/resources/snapshot.ts'
import type { ResourceDeltaReport } from '../src/inspect/resources/track.ts'
import type { ReapedProcess } from './protocol.ts'
import { type WorkerApi, workerApi } from './worker/api.ts'

export type { ResourceSnapshot } from '../src/inspect/resources/snapshot.ts'
export type { ResourceDeltaReport } from '../src/inspect/resources/track.ts'
export type { ReapedProcess } from './protocol.ts'

/** How long a deliberate process is left alone. */
export interface KeepOptions {
  /**
   * `'file'`: until the hooks of the test file are over; `'run'`: until the end of the run, and it is then ended without
   * a word. One that is to outlive even the run is started with `HARROW_SESSION=keep` in its environment.
   * @default 'run'
   */
  until?: 'file' | 'run'
}

/** Value of the fixtures {@link Fixtures.reaper} and {@link Fixtures.fileReaper}. */
export interface Reaper {
  /** See {@link keep}. */
  keep(child: ChildProcess | number, options?: KeepOptions): void
  /** Ends now what the test (or the file) has started and what still lives, and waits until it is gone. */
  reap(): Promise<ReapedProcess[]>
}

/**
 * Leaves a process alone that was started in this test or file: a server that later tests share, a deliberate daemon.
 *
 * @param child a child process, or the pid of one
 * @throws UsageError when it has no pid (it did not start) or `until` is something else
 * @example
 * ```ts
 * import { spawn } from 'node:child_process'
 * import { keep } from 'harrow/vitest'
 *
 * const server = spawn('redis-server')
 * keep(server, { until: 'file' })
 * ```
 */
export function keep(child: ChildProcess | number, { until = 'run' }: KeepOptions = {}): void {
  const pid = typeof child === 'number' ? child : child?.pid
  if (pid === undefined || !Number.isSafeInteger(pid) || pid <= 1) {
    throw new UsageError(`keep() expects a child process that has started, or its pid, got ${show(child)}.`)
  }
  if (until !== 'file' && until !== 'run') {
    throw new UsageError(`keep() option "until" expects 'file' or 'run', got ${show(until)}.`)
  }
  api()?.keep(pid, until)
}

/**
 * Ends what the running test has started (outside of a test: what the file has started so far) and what still lives,
 * double-forked processes included: SIGTERM, 500 ms, then SIGSTOP to all and SIGKILL. What {@link keep} was called for
 * stays.
 *
 * @returns what was ended; empty also where harrow does not supervise the worker (a warning says so)
 * @example
 * ```ts
 * import { spawn } from 'node:child_process'
 * import { reap } from 'harrow/vitest'
 *
 * spawn('sleep', ['60'])
 * await reap() // [{ pid: 4912, command: 'sleep 60', action: 'SIGTERM', ... }]
 * ```
 */
export async function reap(): Promise<ReapedProcess[]> {
  const worker = api()
  if (!worker) return []
  const { tests, file } = worker.scope()
  const whose = tests.length === 1 ? { test: tests[0]! } : { file: file ?? '' }
  return (await worker.reap(whose, false)).reaped
}

interface TaskContext {
  task: { id: string; name: string; meta: object }
}

/** Value of the fixture {@link Fixtures.resourceDelta}. */
export interface ResourceDeltaValue {
  /** Counts when the test began. */
  before: ResourceSnapshot
}

/** Options of {@link resourceDeltaFixture}. */
export interface ResourceDeltaOptions {
  /**
   * For every test, also those that do not name it.
   * @default false
   */
  auto?: boolean
  /** Gets the report as text and as data; default: the text goes to stderr when something changed. */
  writer?: (text: string, report: ResourceDeltaReport) => void
}

type ResourceDeltaFixture = (context: TaskContext, use: (value: ResourceDeltaValue) => Promise<void>) => Promise<void>

/**
 * Makes a fixture that reports what a test left behind, as `trackResourceDeltas` of `harrow` does. The report is
 * in `task.meta.harrow.delta` as well.
 *
 * @example
 * ```ts
 * import { test as base } from 'vitest'
 * import { resourceDeltaFixture } from 'harrow/vitest'
 *
 * const test = base.extend({ resourceDelta: resourceDeltaFixture({ auto: true }) })
 * test('leaves nothing', () => {})
 * ```
 */
export function resourceDeltaFixture(options: ResourceDeltaOptions = {}): [ResourceDeltaFixture, { auto: boolean }] {
  const fixture: ResourceDeltaFixture = async ({ task }, use) => {
    const { trackResourceDeltas } = await import('../src/inspect/resources/track.ts')
    const registry = workerApi()?.handles ?? undefined
    await trackResourceDeltas(task.name, (before) => use({ before }), {
      ...(registry && { registry }),
      writer(text, report) {
        const meta = task.meta as { harrow?: object }
        meta.harrow = { ...meta.harrow, delta: report }
        if (options.writer) options.writer(text, report)
        else if (report.changed) process.stderr.write(text)
      },
    })
  }
  return [fixture, { auto: options.auto ?? false }]
}

/** The type of {@link fixtures}. */
export interface Fixtures {
  /**
   * Per test: what the test started and what still lives when it is over (and its hooks) is ended at once instead of at
   * the end of the file, and reported as an orphan; with `orphans: 'error'` the test fails.
   */
  reaper: (context: TaskContext, use: (value: Reaper) => Promise<void>) => Promise<void>
  /** The same for all that the file has started, when its last hook is over. */
  fileReaper: [(context: object, use: (value: Reaper) => Promise<void>) => Promise<void>, { scope: 'file' }]
  /** Reports what the test leaves behind; see {@link resourceDeltaFixture}. */
  resourceDelta: ResourceDeltaFixture
}

/**
 * Fixtures for vitest's `test.extend`.
 *
 * @example
 * ```ts
 * import { spawn } from 'node:child_process'
 * import { test as base } from 'vitest'
 * import { fixtures } from 'harrow/vitest'
 *
 * const test = base.extend(fixtures)
 * test('starts a server', async ({ reaper }) => {
 *   reaper.keep(spawn('redis-server'), { until: 'file' })
 *   spawn('sleep', ['60']) // ended and reported when this test is over
 * })
 * ```
 */
export const fixtures: Fixtures = {
  reaper: async ({ task }, use) => {
    const worker = api()
    const whose = { test: task.id }
    await use({ keep, reap: async () => (await worker?.reap(whose, false))?.reaped ?? [] })
    await finish(worker, whose)
  },
  fileReaper: [
    // biome-ignore lint/correctness/noEmptyPattern: vitest reads the names of the fixtures that are needed from the pattern
    async ({}, use) => {
      const worker = api()
      const whose = { file: worker?.scope().file ?? '' }
      await use({ keep, reap: async () => (await worker?.reap(whose, false))?.reaped ?? [] })
      await finish(worker, whose)
    },
    { scope: 'file' },
  ],
  resourceDelta: resourceDeltaFixture()[0],
}

async function finish(worker: WorkerApi | undefined, whose: { test: string } | { file: string }): Promise<void> {
  const errors = (await worker?.reap(whose, true))?.errors ?? []
  if (errors.length === 1) throw errors[0]
  if (errors.length > 1) throw new AggregateError(errors, errors.map((error) => error.message).join('\n'))
}

let warned = false

function api(): WorkerApi | undefined {
  const worker = workerApi()
  if (!worker && !warned && process.env.HARROW !== 'off') {
    warned = true
    process.emitWarning(
      'no process is ended by keep(), reap() and the reaper fixtures: harrow() is not among the plugins of this project, or does not supervise its pool',
      { code: 'HARROW_NOT_SUPERVISED' },
    )
  }
  return worker
}

function show(value: unknown): string {
  return typeof value === 'object' && value !== null ? `an object without a pid` : String(value)
}
