/** How bad it is that a process is there. */
import type { ProcessIdentity } from './identity.ts'
import type { ProcessRow } from './list.ts'
import { RUNAWAY_PERCENT } from './usage.ts'

/**
 * - `zombie`: dead, and its parent does not wait for it
 * - `orphan`: of a harrow run whose main process is dead, or adopted by another process than started it
 * - `runaway`: uses a whole CPU
 * - `live`: nothing of these
 */
export type Severity = 'zombie' | 'orphan' | 'runaway' | 'live'

/** What is to be known about the neighbours of a process to judge it. */
export interface Surroundings {
  /** Main process of a run and whether it lives; undefined when nobody knows. */
  mainOf(run: string): { id: ProcessIdentity; alive: boolean } | undefined
  /** Run that a process belongs to, by whatever proof; null when it is none of ours. */
  runOf(pid: number): string | null
  /** Share of one CPU that a process uses. */
  cpuOf(pid: number): number | undefined
  /** More than this is a runaway; default {@link RUNAWAY_PERCENT}. */
  runawayPercent?: number
}

/**
 * The worst that can be said of a process.
 *
 * A deliberate daemon (`HARROW_SESSION=keep`) and a process that belongs to no run are never called an orphan.
 */
export function severityOf(row: ProcessRow, around: Surroundings): Severity {
  if (row.state === 'Z') return 'zombie'
  if (isOrphan(row, around)) return 'orphan'
  return (around.cpuOf(row.pid) ?? 0) > (around.runawayPercent ?? RUNAWAY_PERCENT) ? 'runaway' : 'live'
}

function isOrphan(row: ProcessRow, around: Surroundings): boolean {
  const run = around.runOf(row.pid)
  if (run === null || row.marks?.run === 'keep') return false
  const main = around.mainOf(run)
  if (main === undefined) return row.ppid === 1
  if (row.pid === main.id.pid && row.id?.start === main.id.start) return false
  if (!main.alive) return true
  // What a worker's test started has the worker's mark; below main it can only be because main adopted it.
  if (row.ppid === main.id.pid) return row.marks?.member != null && !row.marks.worker
  return around.runOf(row.ppid) !== run
}
