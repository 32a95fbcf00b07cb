/** What test code can ask the worker's side of harrow for: found through a global, since it is another copy of the code. */
import type { HandleRegistry } from '../../src/inspect/resources/handles.ts'
import type { ReapedProcess, ReapScope, Scope } from '../protocol.ts'

export interface WorkerApi {
  /** Open handles of this worker; null where they could not be recorded. */
  readonly handles: HandleRegistry | null
  /** What runs now. */
  scope(): Scope
  /**
   * Ends what a test or file has started and what still lives.
   * @param finding it is reported as an orphan after a grace; else it was asked for
   */
  reap(whose: ReapScope, finding: boolean): Promise<{ reaped: ReapedProcess[]; errors: Error[] }>
  keep(pid: number, until: 'file' | 'run'): void
}

const KEY = Symbol.for('harrow.worker')

interface Holder {
  api?: WorkerApi
}

/** The API of the worker that this code runs in; undefined where nothing is supervised. */
export function workerApi(): WorkerApi | undefined {
  return ((globalThis as Record<symbol, unknown>)[KEY] as Holder | undefined)?.api
}

/** Puts the API, and what the inspector reads while the thread is paused, where they are found. */
export function expose(holder: { snapshot(): string; api: WorkerApi }): void {
  Object.defineProperty(globalThis, KEY, { configurable: true, value: holder })
}
