/** All processes of the machine, in one shape: from `/proc` on Linux, by the package ps-list elsewhere. */
import type { ProcessIdentity } from './identity.ts'
import {
  available,
  PF_KTHREAD,
  bootId as readBootId,
  readEnvironTag,
  readOwner,
  readTable,
  TICKS_PER_SECOND,
  uptimeMs,
} from './procfs.ts'
import { commandOf, shorten } from './tree.ts'

/** Marks that harrow gives to what it starts, as they were when the program was started. */
export interface Marks {
  /** `HARROW_SESSION`: id of the run, or `keep` for a deliberate daemon. */
  run: string
  /** `HARROW_MEMBER`: `<run>.<n>`, the worker that it was started below. */
  member: string | null
  /** It is itself a worker of vitest: only those are started with `HARROW_WORKER`. */
  worker: boolean
}

/** One process. What the system does not tell is null. */
export interface ProcessRow {
  pid: number
  ppid: number
  /** By which it can be told from a later process with the same pid. */
  id: ProcessIdentity | null
  uid: number | null
  /** One letter as in `/proc/pid/stat`: R S D Z T t I; `?` when unknown. */
  state: string
  /** A thread of the kernel. */
  kernel: boolean
  ageMs: number | null
  rssBytes: number | null
  /** Command line, shortened to 120 characters; the name of the program where there is none. */
  command: string
  /** Null also when the environment cannot be read (another user's, a zombie, off Linux). */
  marks: Marks | null
}

/** Where a list comes from, and how far it can be trusted. */
export interface ListingSource {
  from: '/proc' | 'ps-list' | 'none'
  /**
   * `full`: starts exact to 10 ms, states and marks. `basic`: starts exact to one second at best, no states but "zombie",
   * no marks. `none`: nothing can be listed.
   */
  strength: 'full' | 'basic' | 'none'
  /** What is missing, as a sentence; null at full strength. */
  note: string | null
}

/** The source that {@link listProcesses} uses on this machine. */
export function listingSource(): ListingSource {
  if (available()) return { from: '/proc', strength: 'full', note: null }
  if (process.platform === 'linux') {
    // `ps` would read the same table, whose pids mean other processes to kill(2).
    const note = '/proc is missing or that of another pid namespace, so no process can be listed'
    return { from: 'none', strength: 'none', note }
  }
  const note = 'without /proc, processes are listed by ps-list: starts to the second, no states, no marks'
  return { from: 'ps-list', strength: 'basic', note }
}

/**
 * Every process that can be seen, lowest pid first.
 *
 * @param from source to use in place of {@link listingSource}'s
 * @returns an empty list when the source fails; never throws. A process that ends while we look may be missing.
 */
export async function listProcesses(from = listingSource().from): Promise<ProcessRow[]> {
  if (from === 'none') return []
  return from === '/proc' ? listFromProc() : listByPackage()
}

/** {@link listProcesses} without a wait; Linux only, elsewhere empty. */
export function listFromProc(): ProcessRow[] {
  const bootId = readBootId()
  const now = uptimeMs()
  const rows: ProcessRow[] = []
  for (const stat of readTable().values()) {
    const kernel = (stat.flags & PF_KTHREAD) !== 0
    rows.push({
      pid: stat.pid,
      ppid: stat.ppid,
      id: bootId === undefined ? null : { bootId, pid: stat.pid, start: stat.start },
      uid: readOwner(stat.pid)?.uid ?? null,
      state: stat.state,
      kernel,
      ageMs: now === undefined ? null : Math.max(0, Math.round(now - (stat.start * 1000) / TICKS_PER_SECOND)),
      rssBytes: stat.rssBytes,
      command: commandOf(stat.pid, undefined, stat),
      marks: kernel || stat.state === 'Z' ? null : marksOf(stat.pid),
    })
  }
  return rows.sort((a, b) => a.pid - b.pid)
}

/** The marks in the environment that a process was started with; null when it has none or they cannot be read. Linux. */
export function marksOf(pid: number): Marks | null {
  const run = readEnvironTag(pid, 'HARROW_SESSION')
  if (!run) return null
  return {
    run,
    member: readEnvironTag(pid, 'HARROW_MEMBER') || null,
    worker: typeof readEnvironTag(pid, 'HARROW_WORKER') === 'string',
  }
}

async function listByPackage(): Promise<ProcessRow[]> {
  try {
    const { default: psList } = await import('ps-list')
    const now = Date.now()
    const rows = (await psList()).map((one): ProcessRow => {
      const start = one.startTime === undefined ? undefined : one.startTime.getTime() / 1000
      return {
        pid: one.pid,
        ppid: one.ppid,
        id: start === undefined ? null : { bootId: 'epoch', pid: one.pid, start },
        uid: one.uid ?? null,
        state: one.cmd?.endsWith('<defunct>') ? 'Z' : '?',
        kernel: false,
        ageMs: start === undefined ? null : Math.max(0, now - start * 1000),
        rssBytes: null,
        command: shortCommand(one.cmd || one.name),
        marks: null,
      }
    })
    return rows.sort((a, b) => a.pid - b.pid)
  } catch {
    // No `ps` (a bare container), or one that does not know the columns (busybox).
    return []
  }
}

function shortCommand(command: string): string {
  return shorten(command.replace(/\s+/g, ' ').trim(), 120)
}

/** Children by the pid of their parent. */
export function childrenByParent<Row extends { pid: number; ppid: number }>(rows: Iterable<Row>): Map<number, Row[]> {
  const children = new Map<number, Row[]>()
  for (const row of rows) {
    if (row.pid === row.ppid) continue
    const siblings = children.get(row.ppid)
    if (siblings) siblings.push(row)
    else children.set(row.ppid, [row])
  }
  return children
}
