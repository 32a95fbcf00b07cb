/** What the tracker needs of vitest's runner, and what it tells of it. */

import type { Section, WorkerState } from '../protocol.ts'
import type { Overdue } from './deadline-watch.ts'

/** Names of vitest's trace spans that are hooks of one test, with the hook's name. */
export const TEST_HOOKS: Record<string, string> = {
  'test.beforeEach': 'beforeEach',
  'test.afterEach': 'afterEach',
  'test.cleanup': 'beforeEach cleanup',
  'test.onFinished': 'onTestFinished',
  'test.onFailed': 'onTestFailed',
}
/** The same of a suite. */
export const SUITE_HOOKS: Record<string, string> = {
  'suite.beforeAll': 'beforeAll',
  'suite.afterAll': 'afterAll',
  'suite.cleanup': 'beforeAll cleanup',
}

/** The parts of vitest's task that we read. */
export interface Task {
  id: string
  type: string
  mode: string
  timeout?: number
  concurrent?: boolean
  fails?: boolean
  result?: unknown
  meta?: unknown
  file: Suite
  suite?: Suite
  retry?: number | { delay?: number }
}

export interface Suite {
  filepath?: string
  file?: Suite
  suite?: Suite
}

export type Trace = (name: string, attributes: unknown, cb?: () => unknown) => unknown

export interface Runner {
  trace?: Trace
  runTask?: (test: Task) => unknown
}

/** What the tracker needs of vitest's `TestRunner` class. */
export interface RunnerClass {
  prototype: object
  getTestFn(test: Task): (() => unknown) | undefined
  getSuiteHooks?(suite: Suite): { aroundEach?: unknown[]; aroundAll?: unknown[] } | undefined
}

export interface TrackerEvents {
  /** Called at each transition, after the state has changed. */
  changed(state: WorkerState): void
  /**
   * vitest's own limit of a section passes now: nothing has been rejected yet, the promise is still pending.
   * @returns `hold`: the limit is not to be enforced (trace mode, where the main process sets the bound)
   */
  overdue(section: Section, owner: string | null): Overdue
  /** A test, a hook of a suite or a collection starts (trace mode watches its promise). */
  body?(owner: string, promise: Promise<unknown>): void
  /** A test is over, with its hooks and fixtures. */
  testEnd?(id: string): void
  /** Something other than a test has run: a collection, a hook of a suite. */
  between?(): void
  /** The last hook of a file is over; vitest waits for the promise before it reports the file as finished. */
  fileEnd?(file: object, runner: object): Promise<void>
}
