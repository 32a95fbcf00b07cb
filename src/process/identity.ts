import { execFileSync, kill, parseDate } from './clean.ts'
import { available, bootId, type ProcessStat, readOwner, readStat, readText } from './procfs.ts'

/**
 * A process, once and for all: a pid alone is reused (after 32768 processes on many machines), so it is never stored,
 * compared or signalled.
 */
export interface ProcessIdentity {
  /** Boot of the machine; `epoch` off Linux, where `start` already tells boots apart. */
  readonly bootId: string
  readonly pid: number
  /** Linux: ticks of 10 ms since boot. Elsewhere: seconds since the epoch. */
  readonly start: number
}

const EPOCH = 'epoch'

/**
 * Identity of a process that exists now.
 *
 * @returns undefined when there is no such process (a thread's id is none), or when its start cannot be read
 */
export function identify(pid: number): ProcessIdentity | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined
  if (process.platform !== 'linux') {
    const found = startByPs(pid)
    return found && { bootId: EPOCH, pid, start: found.start }
  }
  const boot = available() ? bootId() : undefined
  const stat = boot && readStat(pid)
  if (!stat || readOwner(pid)?.tgid !== pid) return undefined
  return { bootId: boot, pid, start: stat.start }
}

/** Start of this process, as in its identity; 0 when it cannot be read. All of the identity would take five files. */
export function ownStart(): number {
  if (process.platform !== 'linux') return identify(process.pid)?.start ?? 0
  const text = readText('/proc/self/stat') ?? ''
  return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19]) || 0
}

/** Does the pid still belong to that very process? True for a zombie as well. */
export function sameProcess(id: ProcessIdentity): boolean {
  return stateOf(id) !== undefined
}

/** Is that very process still there and not merely a zombie? */
export function isRunning(id: ProcessIdentity): boolean {
  const state = stateOf(id)
  return state !== undefined && state !== 'Z' && state !== 'X'
}

/** Has the process ended, though its parent may not have collected it? */
export function isDead({ state, threads }: Pick<ProcessStat, 'state' | 'threads'>): boolean {
  // A main thread that ends before the others is shown as a zombie as well.
  return state === 'X' || (state === 'Z' && threads <= 1)
}

/** One text per process, for sets and maps. */
export function identityKey(id: ProcessIdentity): string {
  return `${id.bootId}/${id.pid}/${id.start}`
}

/** Sends a signal to the process that has a pid now, if `stillTheSame` says afterwards that it is the right one. */
export type Sender = (pid: number, signal: NodeJS.Signals, stillTheSame: () => boolean) => boolean

let sender: Sender = (pid, signal, stillTheSame) => stillTheSame() && kill(pid, signal)

/** Takes another way of sending signals, one in which a pid cannot be reused between the comparison and the signal. */
export function useSender(other: Sender): void {
  sender = other
}

/**
 * Sends a signal to that very process, and to no other: the identity is compared right before. What remains is a window
 * of some microseconds, in which the process would have to end, be collected and its pid come round again; none where
 * the native layer is loaded and the kernel has process descriptors (Linux 5.3).
 *
 * Never signals pid 1 or the caller's own process.
 *
 * @returns false when the process is gone, may not be signalled, or is refused
 */
export function signalProcess(id: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!Number.isSafeInteger(id.pid) || id.pid <= 1 || id.pid === process.pid) return false
  try {
    return sender(id.pid, signal, () => isRunning(id))
  } catch {
    return false
  }
}

function stateOf(id: ProcessIdentity): string | undefined {
  if (id.bootId === EPOCH) {
    const found = process.platform === 'linux' ? undefined : startByPs(id.pid)
    return found?.start === id.start ? found.state : undefined
  }
  if (!available() || id.bootId !== bootId()) return undefined
  const stat = readStat(id.pid)
  if (stat?.start !== id.start) return undefined
  return stat.state === 'Z' && !isDead(stat) ? 'S' : stat.state
}

/**
 * Start and state of a process as `ps` tells them, for systems without `/proc`. About 5 ms; the start is exact to one
 * second only.
 *
 * @returns `start` in seconds since the epoch; undefined without such a process or without `ps`
 */
export function startByPs(pid: number): { start: number; state: string } | undefined {
  if (process.platform === 'win32' || !Number.isSafeInteger(pid) || pid <= 0) return undefined
  try {
    const text = execFileSync('ps', ['-o', 'lstart=', '-o', 'stat=', '-p', String(pid)], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 2000,
      killSignal: 'SIGKILL',
    }).trim()
    const blank = text.lastIndexOf(' ')
    const start = parseDate(`${text.slice(0, blank).trim()} UTC`) / 1000
    const state = text.charAt(blank + 1)
    return Number.isFinite(start) && state ? { start, state } : undefined
  } catch {
    return undefined
  }
}
