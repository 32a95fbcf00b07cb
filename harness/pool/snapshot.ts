/** What a worker tells through the inspector while its thread is paused, see `harness/worker/side.ts`. */
import type { FinishedTest, WorkerState } from '../protocol.ts'
import type { Evidence } from './evidence.ts'

export interface Snapshot {
  state: WorkerState
  finished: FinishedTest[]
  /** Task id of the concurrent test whose code is running; null where that is not followed. */
  current: string | null
  /** Ids of the threads that the worker's code has started. */
  threads: number[]
}

export function parseSnapshot(value: unknown): Snapshot | undefined {
  const text = typeof value === 'string' ? value : undefined
  try {
    const parsed = (text === undefined ? value : JSON.parse(text)) as Partial<Snapshot> | null
    if (!parsed?.state || !Array.isArray(parsed.state.running)) return undefined
    const { state, finished, threads, current } = parsed
    return {
      state,
      current: typeof current === 'string' ? current : null,
      finished: Array.isArray(finished) ? finished : [],
      threads: Array.isArray(threads) ? threads.filter((id) => Number.isInteger(id)) : [],
    }
  } catch {
    return undefined
  }
}

/** Of several tests that run at once, the one whose code the thread was stopped in, where the worker knows it. */
export function blame(evidence: Evidence, current: string | null): void {
  if (evidence.test !== null || current === null || !evidence.concurrent.includes(current)) return
  evidence.test = current
  evidence.concurrent = evidence.concurrent.filter((id) => id !== current)
}
