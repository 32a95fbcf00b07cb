import type { ProcessFact } from '../inspect/facts.ts'
import { pause } from './clean.ts'
import { childrenOf, type ProcessStat, readCommand, readStat, TICKS_PER_SECOND, uptimeMs, wchan } from './procfs.ts'

const COMMAND_LENGTH = 120
const MOST_DESCENDANTS = 512

/** A text cut to `length` characters, the cut shown. */
export function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`
}

/** Command line for people: one line, shortened to `length` characters; the program's name where there is none. */
export function commandOf(pid: number, length = COMMAND_LENGTH, stat?: ProcessStat): string {
  const command = readCommand(pid)?.replace(/\s+/g, ' ').trim()
  return shorten(command || (stat ?? readStat(pid))?.comm || '?', length)
}

/** Pids of all descendants of a process (at most 512), each parent before its children. */
export function descendantPids(pid: number): number[] {
  const found = new Set<number>()
  const visit = (parent: number): void => {
    for (const child of childrenOf(parent)) {
      if (found.size >= MOST_DESCENDANTS || child === pid || found.has(child)) continue
      found.add(child)
      visit(child)
    }
  }
  visit(pid)
  return [...found]
}

/** All descendants of a process that are still linked to it, each parent before its children. */
export function descendants(pid: number): ProcessFact[] {
  return processFacts(descendantPids(pid))
}

/** Facts about processes as they are now; those that are gone are left out. Without the share of CPU. */
export function processFacts(pids: Iterable<number>): ProcessFact[] {
  const now = uptimeMs()
  const facts: ProcessFact[] = []
  for (const pid of pids) {
    const stat = readStat(pid)
    if (!stat) continue
    facts.push({
      pid,
      ppid: stat.ppid,
      state: stat.state,
      wchan: wchan(pid) ?? null,
      rssBytes: stat.rssBytes,
      ageMs: now === undefined ? undefined : Math.max(0, Math.round(now - (stat.start * 1000) / TICKS_PER_SECOND)),
      command: commandOf(pid, COMMAND_LENGTH, stat),
    })
  }
  return facts
}

/**
 * Facts with the share of one CPU that each process used between two looks.
 *
 * @param pids the processes
 * @param sampleMs time between the looks, milliseconds; a tick is 10 ms, so less than 50 says little
 */
export async function sampleProcesses(pids: Iterable<number>, sampleMs = 100): Promise<ProcessFact[]> {
  const before = new Map<number, ProcessStat>()
  for (const pid of pids) {
    const stat = readStat(pid)
    if (stat) before.set(pid, stat)
  }
  const from = uptimeMs()
  await pause(sampleMs)
  const to = uptimeMs()
  return processFacts(before.keys()).flatMap((fact) => {
    const first = before.get(fact.pid)
    const second = readStat(fact.pid)
    if (!first || !second || first.start !== second.start) return []
    const ticks = second.utime + second.stime - first.utime - first.stime
    const elapsed = from === undefined || to === undefined ? 0 : to - from
    if (elapsed <= 0) return [fact]
    return [{ ...fact, cpuPercent: Math.max(0, Math.round((ticks * 100_000) / TICKS_PER_SECOND / elapsed)) }]
  })
}
