/** How busy the machine is, for those who wait for another process. */
import { readFileSync } from 'node:fs'

/** A machine that is busier than this is given up on. */
const MOST = 8

/**
 * How many times as long as on a machine at rest a process takes for the same: its main thread has run for so long and
 * waited for a CPU for so long since it started.
 *
 * @returns 1 to 8; 1 where the system does not tell
 */
export function starvation(pid: number): number {
  try {
    return starvationOf(readFileSync(`/proc/${pid}/schedstat`, 'latin1'))
  } catch {
    return 1
  }
}

/** @param schedstat nanoseconds on a CPU, nanoseconds of waiting for one, number of turns: proc_pid_schedstat(5) */
export function starvationOf(schedstat: string): number {
  const [ran = 0, waited = 0] = schedstat.split(' ').map(Number)
  const times = 1 + waited / ran
  return Number.isFinite(times) ? Math.min(Math.max(times, 1), MOST) : 1
}
