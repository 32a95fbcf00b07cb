/**
 * The reads of Linux' `/proc` that harrow needs. Processes come and go while we look: whatever cannot be read, for
 * whatever reason, is `undefined`, and nothing here throws. Off Linux everything is `undefined` or empty.
 *
 * One wait cannot be bounded: `cmdline` and `environ` take the memory lock of the process they tell about, and a process
 * that sleeps uninterruptibly with that lock held (dead network mount) makes the reader wait as well.
 */
import { closeSync, openSync, readdirSync, readlinkSync, readSync, statSync } from './clean.ts'

const LINUX = process.platform === 'linux'
const LARGEST_READ = 4 << 20

let buffer = Buffer.allocUnsafeSlow(16 << 10)

/** A line of `/proc/pid/stat` (proc_pid_stat(5)). */
export interface ProcessStat {
  pid: number
  /** Name of the program or thread, at most 15 characters. */
  comm: string
  /** One letter: R running, S sleeping, D uninterruptible, Z zombie, T stopped, t traced, I idle, X dead. */
  state: string
  ppid: number
  pgrp: number
  session: number
  /** Kernel flags, see {@link PF_KTHREAD} and {@link PF_EXITING}. */
  flags: number
  /** Time on the CPU in user mode, in ticks of 10 ms. */
  utime: number
  /** Time on the CPU in the kernel, in ticks of 10 ms. */
  stime: number
  threads: number
  /** Start, in ticks of 10 ms since boot. */
  start: number
  /** Resident memory. */
  rssBytes: number
}

/** Users and thread group of a process, from `/proc/pid/status`. */
export interface ProcessOwner {
  /** Process that the id belongs to; differs from the id when the id is that of a thread. */
  tgid: number
  uid: number
  effectiveUid: number
}

/** Ticks per second of every time in `/proc` (USER_HZ: 100 on all architectures that Node supports). */
export const TICKS_PER_SECOND = 100

/** Flag of a kernel thread in {@link ProcessStat.flags}. */
export const PF_KTHREAD = 0x0020_0000

/** Flag of a thread that ends, in {@link ProcessStat.flags}; of a process it is that of its main thread. */
export const PF_EXITING = 0x0000_0004

/**
 * Can `/proc` be trusted here? It must be there, and its pids must be those of our own pid namespace: otherwise a pid read
 * here would be another process for `kill(2)`.
 */
export function available(): boolean {
  return LINUX && linkTarget('/proc/self') === String(process.pid)
}

function isPid(pid: number): boolean {
  return Number.isSafeInteger(pid) && pid > 0
}

/** @param atOnce the whole file comes with one read, as the short ones of `/proc` do: the second, for the end, is spared */
function slurp(path: string, atOnce = false): Buffer | undefined {
  if (!LINUX) return undefined
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    return undefined
  }
  try {
    let length = 0
    for (;;) {
      if (length === buffer.length) {
        if (length >= LARGEST_READ) break
        const larger = Buffer.allocUnsafeSlow(length * 2)
        buffer.copy(larger)
        buffer = larger
      }
      const got = readSync(fd, buffer, length, buffer.length - length, null)
      length += got
      if (got === 0 || atOnce) break
    }
    return buffer.subarray(0, length)
  } catch {
    return undefined
  } finally {
    closeSync(fd)
  }
}

/** Text of a file in `/proc`, `undefined` when it cannot be read. */
export function readText(path: string): string | undefined {
  return slurp(path)?.toString('utf8')
}

/** Target of a symbolic link, `undefined` when it cannot be read. */
export function linkTarget(path: string): string | undefined {
  if (!LINUX) return undefined
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** Names in a directory of `/proc`, `undefined` when it cannot be read. */
export function listDirectory(path: string): string[] | undefined {
  if (!LINUX) return undefined
  try {
    return readdirSync(path)
  } catch {
    return undefined
  }
}

function numbersIn(path: string): number[] {
  const found: number[] = []
  for (const name of listDirectory(path) ?? []) {
    const first = name.charCodeAt(0)
    if (first >= 49 && first <= 57) found.push(Number(name))
  }
  return found
}

/** State of a process, or of one of its threads. */
export function readStat(pid: number, tid?: number): ProcessStat | undefined {
  if (!isPid(pid) || (tid !== undefined && !isPid(tid))) return undefined
  const text = slurp(tid === undefined ? `/proc/${pid}/stat` : `/proc/${pid}/task/${tid}/stat`, true)?.toString('utf8')
  if (text === undefined) return undefined
  // A program may be called `a) R 1`: only the last parenthesis ends the name.
  const end = text.lastIndexOf(')')
  const fields = text.slice(end + 2).split(' ')
  const state = fields[0]
  if (end < 0 || !state || fields.length < 22) return undefined
  const number = (index: number) => Number(fields[index])
  const stat: ProcessStat = {
    pid: tid ?? pid,
    comm: text.slice(text.indexOf('(') + 1, end),
    state,
    ppid: number(1),
    pgrp: number(2),
    session: number(3),
    flags: number(6),
    utime: number(11),
    stime: number(12),
    threads: number(17),
    start: number(19),
    rssBytes: number(21) * pageSize(),
  }
  return Number.isFinite(stat.ppid) && Number.isFinite(stat.start) ? stat : undefined
}

/** Command line with blanks between the arguments; '' for a zombie or a kernel thread. */
export function readCommand(pid: number): string | undefined {
  if (!isPid(pid)) return undefined
  return readText(`/proc/${pid}/cmdline`)?.replace(/\0+$/, '').replaceAll('\0', ' ')
}

/**
 * Value of an environment variable as it was when the program was started (a later change of `process.env` does not show).
 *
 * @returns the value; null when the process has no such variable; undefined when that is unknown (gone, another user's,
 * not dumpable)
 */
export function readEnvironTag(pid: number, name: string): string | null | undefined {
  if (!isPid(pid)) return undefined
  const block = slurp(`/proc/${pid}/environ`)
  if (!block) return undefined
  const head = Buffer.from(`${name}=`)
  for (let at = block.indexOf(head); at >= 0; at = block.indexOf(head, at + 1)) {
    if (at > 0 && block[at - 1] !== 0) continue
    const end = block.indexOf(0, at)
    return end < 0 ? null : block.toString('utf8', at + head.length, end)
  }
  return null
}

/** Owner of a process, and whether the id is a process at all. */
export function readOwner(pid: number): ProcessOwner | undefined {
  const status = isPid(pid) ? readText(`/proc/${pid}/status`) : undefined
  const users = status && /^Uid:\t(\d+)\t(\d+)/m.exec(status)
  const group = status && /^Tgid:\t(\d+)/m.exec(status)
  if (!users || !group) return undefined
  return { tgid: Number(group[1]), uid: Number(users[1]), effectiveUid: Number(users[2]) }
}

/** Children that one thread of a process started; empty also when the kernel does not tell (CONFIG_PROC_CHILDREN). */
export function childrenOfThread(pid: number, tid: number): number[] {
  if (!isPid(pid) || !isPid(tid)) return []
  const text = readText(`/proc/${pid}/task/${tid}/children`)?.trim()
  return text ? text.split(' ').map(Number).filter(isPid) : []
}

/** Children of all threads of a process, oldest first per thread. Exact only while the process stands still. */
export function childrenOf(pid: number): number[] {
  if (available() && !childrenFiles()) {
    return listPids().filter((other) => readStat(other)?.ppid === pid)
  }
  return threadsOf(pid).flatMap((tid) => childrenOfThread(pid, tid))
}

/** Ids of the threads of a process, the main thread first. */
export function threadsOf(pid: number): number[] {
  return isPid(pid) ? numbersIn(`/proc/${pid}/task`) : []
}

/** Every process that can be seen, lowest pid first. */
export function listPids(): number[] {
  return available() ? numbersIn('/proc') : []
}

const MOST_LISTINGS = 5

/**
 * All processes that can be seen, by pid. What is born while the table is read is read too: of a relay, in which each
 * process starts the next one and ends, one listing may show a process that is gone and not yet the next.
 */
export function readTable(): Map<number, ProcessStat> {
  const table = new Map<number, ProcessStat>()
  const looked = new Set<number>()
  for (let listing = 0; listing < MOST_LISTINGS; listing++) {
    const before = looked.size
    for (const pid of listPids()) {
      if (looked.has(pid)) continue
      looked.add(pid)
      const stat = readStat(pid)
      if (stat) table.set(pid, stat)
    }
    if (looked.size === before) break
  }
  return table
}

/** Kernel function that a sleeping process or thread waits in; undefined when awake, or hidden by the system. */
export function wchan(pid: number, tid?: number): string | undefined {
  if (!isPid(pid)) return undefined
  const name = readText(tid === undefined ? `/proc/${pid}/wchan` : `/proc/${pid}/task/${tid}/wchan`)
  return name && name !== '0' ? name : undefined
}

/** Milliseconds since boot, sleep of the machine included. */
export function uptimeMs(): number | undefined {
  const seconds = Number.parseFloat(readText('/proc/uptime') ?? '')
  return Number.isFinite(seconds) ? seconds * 1000 : undefined
}

let knownBootId: string | undefined

/** Id of this boot of the machine. */
export function bootId(): string | undefined {
  knownBootId ??= readText('/proc/sys/kernel/random/boot_id')?.trim() || undefined
  return knownBootId
}

let knownChildrenFiles: boolean | undefined

function childrenFiles(): boolean {
  knownChildrenFiles ??= exists(`/proc/self/task/${process.pid}/children`)
  return knownChildrenFiles
}

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    return false
  }
}

let knownPageSize: number | undefined

function pageSize(): number {
  if (knownPageSize === undefined) {
    knownPageSize = 4096
    // Pairs of machine words; type 6 is AT_PAGESZ, see getauxval(3). `slurp` shares its buffer, and the caller has
    // already taken its text out of it.
    const words = slurp('/proc/self/auxv')
    for (let at = 0; words && at + 16 <= words.length; at += 16) {
      if (words.readBigUInt64LE(at) === 6n) knownPageSize = Number(words.readBigUInt64LE(at + 8))
    }
  }
  return knownPageSize
}
