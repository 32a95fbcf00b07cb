/** How much of the CPU and of the memory processes use now. */
import { monotonic, pause } from './clean.ts'
import { listingSource } from './list.ts'
import { sampleProcesses } from './tree.ts'

export interface Usage {
  /** Share of one CPU between two looks: 100 is one CPU busy all the time. */
  cpuPercent: number
  /** Resident memory. */
  rssBytes: number
}

/** From this share of a CPU on a process is called a runaway. */
export const RUNAWAY_PERCENT = 95

/**
 * CPU and memory of processes, over a sample of at least `sampleMs`: from `/proc` on Linux, by the package pidusage
 * elsewhere.
 *
 * @param pids the processes; those that are gone at either look are missing in the answer
 * @param sampleMs time between the two looks, milliseconds; the clock of Linux ticks every 10 ms, so less than 50 says little
 * @param from source to use in place of the one of this machine
 * @returns usage by pid, empty when nothing can be measured; never throws
 */
export async function usageOf(
  pids: Iterable<number>,
  sampleMs = 100,
  from: 'proc' | 'pidusage' = listingSource().from === 'ps-list' ? 'pidusage' : 'proc',
): Promise<Map<number, Usage>> {
  const wanted = [...new Set(pids)]
  if (wanted.length === 0) return new Map()
  return from === 'proc' ? sampleProc(wanted, sampleMs) : sampleByPackage(wanted, sampleMs)
}

async function sampleProc(pids: number[], sampleMs: number): Promise<Map<number, Usage>> {
  const found = new Map<number, Usage>()
  for (const { pid, cpuPercent, rssBytes } of await sampleProcesses(pids, sampleMs)) {
    if (cpuPercent !== undefined && rssBytes !== undefined) found.set(pid, { cpuPercent, rssBytes })
  }
  return found
}

async function sampleByPackage(pids: number[], sampleMs: number): Promise<Map<number, Usage>> {
  const found = new Map<number, Usage>()
  try {
    const { default: pidusage } = await import('pidusage')
    try {
      // Its own percentage is since the start of the process at the first call; two looks at the CPU time are exact.
      const before = await look(pidusage, pids)
      const from = monotonic()
      await pause(sampleMs)
      const after = await look(pidusage, pids)
      const elapsed = monotonic() - from
      for (const [pid, second] of after) {
        const first = before.get(pid)
        if (first === undefined || second.ctime < first.ctime) continue
        const cpuPercent = Math.round((100 * (second.ctime - first.ctime)) / elapsed)
        found.set(pid, { cpuPercent, rssBytes: second.memory })
      }
    } finally {
      // It keeps an interval and, on Linux, an open file for each process.
      pidusage.clear()
    }
  } catch {
    // The programs that it calls are missing (`ps` in a bare container, `wmic` on a new Windows).
  }
  return found
}

type PidUsage = typeof import('pidusage')
type Status = import('pidusage').Status
type Look = Map<number, { ctime: number; memory: number }>

async function look(pidusage: PidUsage, pids: number[]): Promise<Look> {
  const found: Look = new Map()
  // Those that are gone are null or missing; that all are gone is an error.
  const answer = (await pidusage(pids).catch(() => ({}))) as Record<string, Partial<Status> | null>
  for (const pid of pids) {
    const { ctime, memory } = answer[pid] ?? {}
    if (typeof ctime === 'number' && typeof memory === 'number') found.set(pid, { ctime, memory })
  }
  return found
}
