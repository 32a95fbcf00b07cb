/**
 * What a child process does, seen from `/proc`, and which ends of its stdio it and its descendants stand at. Only looks,
 * never throws; off Linux nothing is known.
 */
import { constants } from 'node:os'
import { closeSync, monotonic, openSync, readlinkSync, readSync } from '../process/clean.ts'
import { descriptorTarget, holdersOf, likelyFirst, openDescriptors, socketInode } from '../process/descriptors.ts'
import { available, type ProcessStat, readEnvironTag, readStat, readText, TICKS_PER_SECOND } from '../process/procfs.ts'
import { CALLS_ON_DESCRIPTOR, syscallName } from '../process/syscalls.ts'
import { commandOf, descendantPids } from '../process/tree.ts'
import { explainThread } from './kernel-wait.ts'
import type { KernelView, PipeUser, StdioPart } from './wait-facts.ts'

/** Processes of one child's subtree that are looked into. */
const MOST_PROCESSES = 24
const MOST_USERS = 8
const MOST_POLLED = 64
const COMMAND_LENGTH = 80

/** Signals that are sent to end, wake or tell a process something. */
// biome-ignore format: a table
const SIGNALS: readonly NodeJS.Signals[] = [
  'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGTERM', 'SIGCHLD', 'SIGCONT', 'SIGTSTP',
  'SIGWINCH', 'SIGIO',
]
const POLLIN = 1
const POLLOUT = 4
const WRITES = new Set(['write', 'pwrite64', 'writev', 'pwritev', 'sendto', 'sendmsg', 'sendfile', 'splice'])
const READS = new Set(['read', 'pread64', 'readv', 'preadv', 'recvfrom', 'recvmsg', 'recvmmsg'])

/** CPU that the subtrees of some children have used so far; taken before a long look at something else. */
export interface CpuMark {
  at: number
  ticks: Map<number, number>
}

/** Starts measuring; {@link lookAtChild} tells how much CPU was used since. */
export function markCpu(pids: Iterable<number>): CpuMark {
  const ticks = new Map<number, number>()
  for (const pid of pids) ticks.set(pid, subtreeTicks(subtree(pid)))
  return { at: monotonic(), ticks }
}

/**
 * A child as it is now.
 *
 * @param ends descriptors of our own that lead to its stdio, by part
 * @param mark from {@link markCpu}
 */
export function lookAtChild(
  pid: number,
  ends: ReadonlyMap<StdioPart, number>,
  mark?: CpuMark,
): { kernel: KernelView | null; users: PipeUser[] } {
  if (!available()) return { kernel: null, users: [] }
  try {
    const pids = subtree(pid)
    const stat = readStat(pid)
    const parts = partsOf(pid, ends)
    return {
      kernel: stat === undefined ? null : viewOf(pid, stat, pids, mark),
      users: stat === undefined ? keepers(parts) : usersOf(pids, parts),
    }
  } catch {
    return { kernel: null, users: [] }
  }
}

function subtree(pid: number): number[] {
  return available() ? [pid, ...descendantPids(pid)].slice(0, MOST_PROCESSES) : []
}

function subtreeTicks(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const stat = readStat(pid)
    if (stat) ticks += stat.utime + stat.stime
  }
  return ticks
}

function viewOf(pid: number, stat: ProcessStat, pids: readonly number[], mark: CpuMark | undefined): KernelView {
  const before = mark?.ticks.get(pid)
  const used = before === undefined ? 0 : Math.max(0, subtreeTicks(pids) - before)
  const status = readText(`/proc/${pid}/status`) ?? ''
  return {
    state: stat.state,
    doing: explainThread(pid)?.replace(/^main thread is /, '') ?? null,
    cpuMs: (used * 1000) / TICKS_PER_SECOND,
    spanMs: mark === undefined ? 0 : Math.round(monotonic() - mark.at),
    caught: signalsIn(status, 'SigCgt'),
    ignored: signalsIn(status, 'SigIgn'),
    blocked: signalsIn(status, 'SigBlk'),
    pending: [...new Set([...signalsIn(status, 'SigPnd'), ...signalsIn(status, 'ShdPnd')])],
  }
}

/** Names in a signal set of `/proc/pid/status` (proc_pid_status(5)). */
function signalsIn(status: string, field: string): string[] {
  const hex = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1]
  if (hex === undefined) return []
  const set = BigInt(`0x${hex}`)
  return SIGNALS.filter((name) => {
    const number = constants.signals[name]
    return number !== undefined && ((set >> BigInt(number - 1)) & 1n) === 1n
  })
}

/** What the parts of the child's stdio are called in `/proc/<pid>/fd`: the child's own ends. */
function partsOf(pid: number, ends: ReadonlyMap<StdioPart, number>): Map<string, StdioPart> {
  const parts = new Map<string, StdioPart>()
  for (const [part, fd] of ends) {
    const number = descriptorOf(pid, part)
    const target = number === undefined ? undefined : descriptorTarget(pid, number)
    if (target !== undefined && /^(?:socket|pipe):/.test(target)) {
      parts.set(target, part)
      continue
    }
    // The child is gone, or has put something else in its place: the two ends of a socket pair, which Node makes for
    // `pipe`, are made one after the other and nearly always have neighbouring inodes.
    const inode = socketInode(ownTarget(fd) ?? '')
    if (inode === undefined) continue
    for (const step of [1n, -1n]) {
      const peer = `socket:[${BigInt(inode) + step}]`
      if (!isOwn(peer)) parts.set(peer, part)
    }
  }
  return parts
}

function descriptorOf(pid: number, part: StdioPart): number | undefined {
  if (part === 'ipc') {
    const fd = Number(readEnvironTag(pid, 'NODE_CHANNEL_FD') ?? Number.NaN)
    return Number.isInteger(fd) ? fd : undefined
  }
  const named = ['stdin', 'stdout', 'stderr'].indexOf(part)
  return named >= 0 ? named : Number(/\d+/.exec(part)?.[0])
}

function ownTarget(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return undefined
  }
}

function isOwn(target: string): boolean {
  return openDescriptors(process.pid).some((fd) => ownTarget(fd) === target)
}

/** Which processes of a living child's subtree write to its stdio, read from it or have it open. */
function usersOf(pids: readonly number[], parts: ReadonlyMap<string, StdioPart>): PipeUser[] {
  const users: PipeUser[] = []
  for (const pid of pids) {
    const waits = waitsOf(pid)
    for (const fd of openDescriptors(pid)) {
      const part = parts.get(descriptorTarget(pid, fd) ?? '')
      if (part === undefined) continue
      const does = waits.writes.has(fd) ? 'write' : waits.reads.has(fd) ? 'read' : 'holds'
      if (!users.some((one) => one.pid === pid && one.part === part && one.does === does)) {
        users.push({ pid, command: commandOf(pid, COMMAND_LENGTH), part, does })
      }
    }
  }
  const rank = { write: 0, read: 1, holds: 2 }
  return users.sort((a, b) => rank[a.does] - rank[b.does]).slice(0, MOST_USERS)
}

/** Who keeps the stdio of a child that is gone open: its descendants belong to somebody else by now. */
function keepers(parts: ReadonlyMap<string, StdioPart>): PipeUser[] {
  const { found } = holdersOf(new Set(parts.keys()), process.pid, likelyFirst(process.pid))
  const users = found.flatMap(({ pid, fd }): PipeUser[] => {
    const part = parts.get(descriptorTarget(pid, fd) ?? '')
    return part === undefined ? [] : [{ pid, command: commandOf(pid, COMMAND_LENGTH), part, does: 'holds' }]
  })
  return users.slice(0, MOST_USERS)
}

interface Waits {
  reads: Set<number>
  writes: Set<number>
}

/** The descriptors that the main thread of a process waits at, to read or to write. */
function waitsOf(pid: number): Waits {
  const waits: Waits = { reads: new Set(), writes: new Set() }
  const [number, ...words] = (readText(`/proc/${pid}/task/${pid}/syscall`) ?? '').trim().split(' ')
  const name = syscallName(Number(number))
  const [first = 0, second = 0] = words.map(Number)
  if (name === undefined) return waits
  if (CALLS_ON_DESCRIPTOR.has(name)) {
    if (WRITES.has(name)) waits.writes.add(first)
    else if (READS.has(name)) waits.reads.add(first)
  } else if (name.startsWith('epoll')) {
    watchedBy(pid, first, waits)
  } else if (name === 'poll' || name === 'ppoll') {
    for (const [fd, events] of pollList(pid, first, second)) noteWait(waits, fd, events)
  }
  return waits
}

function noteWait(waits: Waits, fd: number, events: number): void {
  if (events & POLLOUT) waits.writes.add(fd)
  if (events & POLLIN) waits.reads.add(fd)
}

/** The list of an epoll descriptor (`tfd: 1 events: 1c`), see proc_pid_fdinfo(5). */
function watchedBy(pid: number, fd: number, waits: Waits): void {
  const info = readText(`/proc/${pid}/fdinfo/${fd}`) ?? ''
  for (const [, target, events] of info.matchAll(/^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)/gm)) {
    noteWait(waits, Number(target), Number.parseInt(events as string, 16))
  }
}

/** The list that a process polls, from its memory (`struct pollfd` of poll(2)); empty without the right to trace it. */
function pollList(pid: number, pointer: number, count: number): [fd: number, events: number][] {
  if (!(pointer > 0 && count > 0)) return []
  const bytes = Buffer.alloc(8 * Math.min(count, MOST_POLLED))
  let fd: number | undefined
  try {
    fd = openSync(`/proc/${pid}/mem`, 'r')
    if (readSync(fd, bytes, 0, bytes.length, pointer) !== bytes.length) return []
  } catch {
    return []
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
  return Array.from({ length: bytes.length / 8 }, (_, i) => [bytes.readInt32LE(8 * i), bytes.readInt16LE(8 * i + 4)])
}
