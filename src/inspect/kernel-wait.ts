/**
 * Why a thread does not move, told from `/proc` in one sentence, e.g. "main thread is inside spawnSync or execSync, waiting
 * for child 12 `sleep 100`". Linux; elsewhere nothing is known. Only looks, and never throws.
 */
import { pause } from '../process/clean.ts'
import {
  describeDescriptor,
  describeSocket,
  descriptorTarget,
  isFifo,
  likelyFirst,
  openDescriptors,
  pairedHolder,
  processWords,
  readStringAt,
  socketInode,
  stateWords,
} from '../process/descriptors.ts'
import {
  childrenOf,
  childrenOfThread,
  linkTarget,
  PF_KTHREAD,
  type ProcessStat,
  readStat,
  readText,
  TICKS_PER_SECOND,
  threadsOf,
  wchan,
} from '../process/procfs.ts'
import { CALLS_ON_DESCRIPTOR, syscallName } from '../process/syscalls.ts'
import { awaitedLocks, lockedDatabases } from './file-locks.ts'
import { dnsServer, threadpool } from './pool-threads.ts'

/** Between two looks; a thread that did nothing meanwhile is called stuck. */
const SAMPLE_MS = 100
/** `execSync` -> `sh` -> `npm` -> ... is followed this far down. */
const DEEPEST_CHILD = 4
const WRITES = /^(?:p?write(?:v|64)?|send(?:to|msg)|splice)$/
const IDLE = 'idle in its event loop'

/**
 * One sentence about a thread as it is now.
 *
 * @param pid the process
 * @param tid the thread; the main thread's is `pid`
 * @returns undefined when the thread is gone or nothing can be known (not Linux)
 */
export function explainThread(pid: number, tid: number = pid): string | undefined {
  return guarded(() => explain(pid, tid, 0), undefined)
}

/**
 * Sentences about a process, most telling first: the main thread, a used up threadpool, the other threads (equal ones
 * together), file locks and databases that it waits for, signals that are pending. Idle helper threads of V8 and libuv are left out.
 */
export function explainProcess(pid: number): string[] {
  return guarded(() => {
    const main = explain(pid, pid, 0)
    if (main === undefined) return []
    const pool = threadpool(pid, (tid) => explain(pid, tid, 0)?.replace(/^thread .*? \(.*?\) is /, ''))
    return [main, ...pool, ...otherThreads(pid), ...awaitedLocks(pid), ...lockedDatabases(pid), ...pendingSignals(pid)]
  }, [])
}

/**
 * Looks twice, 100 ms apart, and says of each thread (or of the one that was asked for) whether it is stuck, and in what.
 * Threads that did something between the two looks are said to move.
 *
 * @param pid the process
 * @param tid only this thread; default: the whole process
 * @returns sentences, most telling first; empty when nothing can be known. Never rejects.
 */
export async function explainStuck(pid: number, tid?: number): Promise<string[]> {
  const before = sample(pid, tid ?? pid)
  if (!before) return []
  await pause(SAMPLE_MS)
  return guarded(() => {
    const after = sample(pid, tid ?? pid)
    const sentence = explain(pid, tid ?? pid, 0)
    if (!after || sentence === undefined) return []
    const rest = tid === undefined ? explainProcess(pid).slice(1) : []
    // An idle loop stands still as well, which is no fault of it.
    return [sentence.includes(IDLE) ? sentence : `${sentence} (${compare(before, after)})`, ...rest]
  }, [])
}

interface Sample {
  stat: ProcessStat
  call: string
}

function sample(pid: number, tid: number): Sample | undefined {
  const stat = readStat(pid, tid)
  return stat && { stat, call: readText(`/proc/${pid}/task/${tid}/syscall`)?.trim() ?? '' }
}

function compare(before: Sample, after: Sample): string {
  const ticks = after.stat.utime + after.stat.stime - before.stat.utime - before.stat.stime
  if (ticks > 0) return `it used ${ticks * (1000 / TICKS_PER_SECOND)} ms of CPU within ${SAMPLE_MS} ms`
  if (after.stat.state === 'R') return `it waits for a CPU: it got none within ${SAMPLE_MS} ms`
  if (before.stat.state !== after.stat.state || before.call !== after.call) return `it moved within ${SAMPLE_MS} ms`
  return `stuck: unchanged after ${SAMPLE_MS} ms`
}

function guarded<T>(look: () => T, otherwise: T): T {
  try {
    return look()
  } catch {
    return otherwise
  }
}

function explain(pid: number, tid: number, depth: number): string | undefined {
  const stat = readStat(pid, tid)
  if (!stat) return undefined
  const who = depth > 0 ? 'it' : tid === pid ? 'main thread' : `thread ${tid} (${stat.comm})`
  switch (stat.state) {
    case 'Z':
      return `${who} is a zombie: it has ended, and its parent ${processWords(stat.ppid)} has not collected it`
    case 'T':
    case 't':
      return `${who} is ${stateWords(stat.state)}${tracer(pid)}`
    case 'X':
      return undefined
  }
  // What the system shows as its system call is none.
  if ((stat.flags & PF_KTHREAD) !== 0) return `${who} is a thread of the kernel, ${stateWords(stat.state)}`
  const call = readText(`/proc/${pid}/task/${tid}/syscall`)?.trim()
  if (stat.state === 'R' || call === 'running') return `${who} is on the CPU${tracer(pid)} (${cpuWords(stat)})`
  const place = wchan(pid, tid)
  const tail = place === undefined ? '' : ` [${place}]`
  const [number, ...words] = (call ?? '').split(' ')
  if (!number || number === '-1') return `${who} is ${stateWords(stat.state)}${tail}`

  const name = syscallName(Number(number))
  const args = words.map((word) => Number(word))
  const sleep = stat.state === 'D' ? 'in uninterruptible sleep in' : 'blocked in'
  if (name === undefined) return `${who} is ${sleep} system call ${number}${tail}`
  if (name.startsWith('epoll')) return `${who} is ${eventLoop(pid, tid, args[0] ?? -1, depth)}`
  return `${who} is ${sleep} ${name}(2)${reason(pid, tid, name, args, depth)}${tail}`
}

function cpuWords(stat: ProcessStat): string {
  const seconds = (ticks: number) => (ticks / TICKS_PER_SECOND).toFixed(1)
  return `user ${seconds(stat.utime)} s, system ${seconds(stat.stime)} s`
}

function tracer(pid: number): string {
  const found = /^TracerPid:\t(\d+)/m.exec(readText(`/proc/${pid}/status`) ?? '')?.[1]
  return found === undefined || found === '0' ? '' : `, traced by ${processWords(Number(found))}`
}

function reason(pid: number, tid: number, name: string, args: number[], depth: number): string {
  const [first = 0, second = 0, third = 0] = args
  if (CALLS_ON_DESCRIPTOR.has(name)) {
    const lock = name === 'flock' ? ', waiting for an flock' : name === 'fcntl' ? ', waiting for a record lock' : ''
    const what = describeDescriptor(pid, first)
    const lookup = /\(UDP to .*:53\)$/.test(what) ? ', probably in getaddrinfo, waiting for that DNS server' : ''
    return ` on ${what}${fullness(name, what)}${lookup}${lock}${lock && holderOfLock(pid)}`
  }
  switch (name) {
    case 'open':
      return opened(pid, first, second)
    case 'openat':
    case 'openat2':
      return opened(pid, second, name === 'openat' ? third : undefined)
    case 'wait4':
      return `, waiting for ${childWords(pid, tid, first | 0, depth)}`
    case 'waitid':
      return `, waiting for ${childWords(pid, tid, second, depth)}`
    case 'futex':
    case 'futex_wait':
    case 'futex_waitv':
      return ': it waits for a lock, a condition variable or Atomics.wait'
    case 'poll':
    case 'ppoll':
      return lookupWords(pid) ?? ` on ${second} file descriptor${second === 1 ? '' : 's'}`
    case 'nanosleep':
    case 'clock_nanosleep':
      return `: it sleeps for a set time${databaseWords(pid)}`
    default:
      return ''
  }
}

/** A thread that sleeps at a pipe cannot go on because of what is, or is not, in it. */
function fullness(name: string, what: string): string {
  if (!/\((?:pipe|FIFO|unix socket)/.test(what)) return ''
  if (WRITES.test(name)) return ', which is full until its reader takes something'
  return /^(?:p?read(?:v|64)?|recv)/.test(name) && !what.includes('socket')
    ? ', which is empty until its writer puts something in'
    : ''
}

function opened(pid: number, pointer: number, flags: number | undefined): string {
  const path = readStringAt(pid, pointer)
  if (path === undefined) return ': usually a FIFO that nobody has opened at the other end, or a dead network mount'
  const seen = path.startsWith('/') ? `/proc/${pid}/root${path}` : `/proc/${pid}/cwd/${path}`
  if (!isFifo(seen)) return ` of ${path}`
  const missing = flags === undefined ? 'the other end' : ['writing', 'reading', 'reading'][flags & 3]
  return ` of the FIFO ${path}, which nobody has open${flags === undefined ? ` at ${missing}` : ` for ${missing}`}`
}

function childWords(pid: number, tid: number, wanted: number, depth: number): string {
  const own = childrenOfThread(pid, tid)
  const children = wanted > 0 ? [wanted] : own.length > 0 ? own : childrenOf(pid)
  if (children.length === 0) return 'a child'
  return children
    .slice(-2)
    .map((child) => {
      const why = depth < DEEPEST_CHILD ? explain(child, child, depth + 1) : undefined
      return `child ${processWords(child)}${why ? ` [${why}]` : ''}`
    })
    .join(', ')
}

/** Words for a thread that waits in an epoll: its event loop is idle, or it is the private loop of spawnSync. */
function eventLoop(pid: number, tid: number, fd: number, depth: number): string {
  const children = childrenOfThread(pid, tid)
  if (isNode(pid) && isNestedLoop(pid, tid, fd, children)) {
    const sure = tid === pid ? 'inside' : 'probably inside'
    if (children.length > 0) {
      const child = children[children.length - 1] ?? 0
      return `${sure} spawnSync, execSync or execFileSync, waiting for ${childWords(pid, tid, child, depth)}`
    }
    return `${sure} spawnSync, execSync or execFileSync: the child has ended, but ${outputHolder(pid, fd)} still holds its output`
  }
  const watched = watchedBy(pid, fd)
  const list = watched.length > 0 ? `; it watches ${watched.join(', ')}` : ''
  const known = childrenOf(pid).slice(0, 3)
  const kids =
    tid === pid && known.length > 0 ? `; children: ${known.map((one) => processWords(one, 40)).join(', ')}` : ''
  return `${IDLE}${list}${kids}`
}

/** A grandchild that outlives the child and keeps its stdout open: spawnSync waits for that as well. */
function outputHolder(pid: number, fd: number): string {
  for (const target of watchedTargets(pid, fd)) {
    const inode = socketInode(target)
    const holder = inode === undefined ? undefined : pairedHolder(pid, inode, likelyFirst(pid))
    if (holder !== undefined) return `probably ${processWords(holder)}`
  }
  return 'another process'
}

function isNode(pid: number): boolean {
  const program = linkTarget(`/proc/${pid}/exe`)
  return program !== undefined && (/\/node[^/]*$/.test(program) || program === linkTarget('/proc/self/exe'))
}

/**
 * In a Node process the epoll descriptors are, in order: one that stays idle, one of the platform's delay thread, the main
 * loop, then those of workers and of nested loops (seen alike in Node 22, 24 and 26). A worker's own loop cannot be told by
 * its place; but while a worker sits in a nested loop, nobody waits on its own one.
 */
function isNestedLoop(pid: number, tid: number, fd: number, children: number[]): boolean {
  const polls = openDescriptors(pid).filter((one) => descriptorTarget(pid, one) === 'anon_inode:[eventpoll]')
  if (tid === pid) return polls.length > 3 && fd !== polls[2]
  if (children.length === 0) return false
  const waited = new Set(threadsOf(pid).flatMap((thread) => polledBy(pid, thread) ?? []))
  return polls.slice(3).some((one) => one < fd && !waited.has(one))
}

function polledBy(pid: number, tid: number): number | undefined {
  const [number, first] = (readText(`/proc/${pid}/task/${tid}/syscall`) ?? '').split(' ')
  return syscallName(Number(number))?.startsWith('epoll') ? Number(first) : undefined
}

function watchedTargets(pid: number, fd: number): string[] {
  const info = readText(`/proc/${pid}/fdinfo/${fd}`) ?? ''
  return [...info.matchAll(/^tfd:\s*(\d+)/gm)].flatMap((match) => descriptorTarget(pid, Number(match[1])) ?? [])
}

function watchedBy(pid: number, fd: number): string[] {
  // Every loop watches its own wake-up and signal descriptors: they tell nothing.
  const telling = watchedTargets(pid, fd).filter((target) => !/eventfd|signalfd|io_uring|^pipe:/.test(target))
  const words = telling.slice(0, 5).map((target) => {
    const inode = socketInode(target)
    return inode === undefined ? target : describeSocket(pid, inode)
  })
  return [...new Set(words)]
}

function lookupWords(pid: number): string | undefined {
  const server = dnsServer(pid)
  return server && `, probably in getaddrinfo, waiting for the DNS server ${server}`
}

/** SQLite sleeps between its tries to get a lock. */
function databaseWords(pid: number): string {
  const [locked] = lockedDatabases(pid)
  return locked === undefined ? '' : ` between tries: ${locked}`
}

function otherThreads(pid: number): string[] {
  const groups = new Map<string, number>()
  for (const tid of threadsOf(pid)) {
    if (tid === pid || isIdleHelper(pid, tid)) continue
    const sentence = explain(pid, tid, 0)?.replace(/^thread \d+ /, 'thread ')
    if (sentence !== undefined) groups.set(sentence, (groups.get(sentence) ?? 0) + 1)
  }
  return [...groups].map(([sentence, count]) => (count > 1 ? `${count} times: ${sentence}` : sentence))
}

/** Name of the thread that waits in forked workers to open the inspector. */
export const WAKE_THREAD = 'harrow-wake'

/** Threads of V8, libuv and the platform that wait for work. */
function isIdleHelper(pid: number, tid: number): boolean {
  const stat = readStat(pid, tid)
  if (stat === undefined) return true
  if (stat.comm === WAKE_THREAD) return true
  if (stat.state !== 'S' || !isNode(pid)) return false
  const call = syscallName(Number(readText(`/proc/${pid}/task/${tid}/syscall`)?.split(' ')[0]))
  return call === 'futex' || (stat.comm.startsWith('DelayedTask') && call?.startsWith('epoll') === true)
}

function holderOfLock(pid: number): string {
  const [lock] = awaitedLocks(pid)
  return lock === undefined ? '' : `: ${lock}`
}

const SIGNAL_NAMES: Record<number, string> = { 1: 'SIGHUP', 2: 'SIGINT', 3: 'SIGQUIT', 10: 'SIGUSR1', 15: 'SIGTERM' }

function pendingSignals(pid: number): string[] {
  const status = readText(`/proc/${pid}/status`) ?? ''
  const pending = BigInt(`0x${/^ShdPnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`)
  const names = Object.entries(SIGNAL_NAMES).filter(([number]) => (pending >> BigInt(Number(number) - 1)) & 1n)
  return names.length > 0 ? [`signals are pending: ${names.map(([, name]) => name).join(', ')}`] : []
}
