/**
 * The few system calls that Node has no function for, through koffi: Linux only, and only where that optional package is
 * installed. Nothing here throws; whoever gets no native layer goes on with the weaker proofs and says so.
 */
import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { closeSync, kill, openSync, readSync } from './clean.ts'
import { useSender } from './identity.ts'

/** System calls for process hygiene. Every function answers with what it achieved and never throws. */
export interface Native {
  /**
   * From now on orphans below this process become its children instead of those of the first process (prctl(2),
   * PR_SET_CHILD_SUBREAPER). Node does not wait for adopted children: see {@link collect}.
   *
   * @param on false gives orphans back to the first process. Default true.
   */
  becomeSubreaper(on?: boolean): boolean
  /** Does this process adopt orphans already? */
  isSubreaper(): boolean
  /**
   * The kernel ends this process with SIGKILL when the *thread* that started it ends (PR_SET_PDEATHSIG); so only for
   * processes that were started by a main thread.
   *
   * @returns false when that could not be set, or when the parent died before: then nothing ends this process
   */
  dieWithParent(): boolean
  /**
   * Collects a dead child, which is gone for everybody else then: never call it for a child that Node has started, its
   * `exit` event would not come.
   *
   * @returns true when the child was dead and is collected; false when it lives, or is no child of this process
   */
  collect(pid: number): boolean
  /**
   * Opens a nameless file `harrow-<id>` at a descriptor from 900 up that every child inherits, also through Node, shells
   * and `env -i`: the lease by which they are known.
   *
   * @returns the descriptor; undefined when the limit of open files is too low for it
   */
  makeLease(id: string): number | undefined
  /** Descriptor of a process, which stays with that process when its pid is reused; undefined when it cannot be had. */
  pidfdOpen(pid: number): number | undefined
  /** Sends a signal through such a descriptor; false when the process is gone or may not be signalled. */
  pidfdSend(pidfd: number, signal: NodeJS.Signals): boolean
}

/** Descriptors of leases start here: Node closes inherited ones at `exec` only up to the first gap, far below. */
export const LOWEST_LEASE_FD = 900

/** The functions of this process, Node's own included. */
export interface Library {
  func(prototype: string): (...args: unknown[]) => number
}
/** The part of koffi that is used. */
export interface Koffi {
  load(path: null): Library
  struct(name: string, members: Record<string, string>): unknown
  proto(prototype: string): object
  pointer(type: object): object
  /** A function of the machine that calls this one, until the end of the process. */
  register(callback: (...args: unknown[]) => void, type: object): object
  address(pointer: object): bigint
  /** Memory that something points to, without copying it. */
  view(pointer: object, bytes: number): ArrayBuffer
  errno(): number
  os: { errno: Record<string, number> }
}

/** The library, and the number of the error that the last failed call left. */
export interface OpenLibrary {
  library: Library
  koffi: Koffi
  /** Name of the last error: `EAGAIN`. */
  lastError(): string
}

let opened: OpenLibrary | { missing: string } | undefined

/**
 * Opens koffi for bindings that are more than a few system calls ({@link file://../spawn/zygote/syscalls.ts}).
 *
 * @returns the library, or why there is none, as {@link loadNative}
 */
export function openLibrary(): OpenLibrary | { missing: string } {
  opened ??= openOnce()
  return opened
}

const PR_SET_PDEATHSIG = 1
const PR_SET_CHILD_SUBREAPER = 36
const PR_GET_CHILD_SUBREAPER = 37
const WNOHANG = 1
const F_DUPFD = 0
// These two have the same number on every architecture that Node supports.
const SYS_pidfd_send_signal = 424
const SYS_pidfd_open = 434

let known: Native | { missing: string } | undefined

/**
 * The native layer, loaded at the first call (about 2 ms, or 15 ms where koffi's own loader is needed). From then on
 * {@link signalProcess} works through process descriptors where the kernel has them.
 *
 * @returns the layer, or why there is none: half a sentence, such as `koffi is not installed`. `HARROW_NATIVE=off` in the
 * environment switches it off.
 */
export function loadNative(): Native | { missing: string } {
  known ??= load()
  return known
}

/** Is this the layer, or the reason why there is none? */
export function isNative(layer: Native | { missing: string }): layer is Native {
  return !('missing' in layer)
}

function load(): Native | { missing: string } {
  const open = openLibrary()
  if ('missing' in open) return open
  const layer = bind(open.library)
  if (!layer) return { missing: 'koffi was loaded, but its calls give wrong answers' }
  installSender(layer)
  return layer
}

function openOnce(): OpenLibrary | { missing: string } {
  if (process.env.HARROW_NATIVE === 'off') return { missing: 'it is switched off by HARROW_NATIVE=off' }
  if (process.platform !== 'linux') return { missing: `it needs Linux, this is ${process.platform}` }
  try {
    const koffi = loadBinary() ?? loadPackage()
    const lastError = (): string => {
      const number = koffi.errno()
      return Object.entries(koffi.os.errno).find(([, value]) => value === number)?.[0] ?? `error ${number}`
    }
    return { library: koffi.load(null), koffi, lastError }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'MODULE_NOT_FOUND') return { missing: 'koffi is not installed' }
    const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n')
    return { missing: `koffi could not be loaded (${line})` }
  }
}

/** The binary itself; koffi's own loader looks for it in many places, which takes six times as long. */
function loadBinary(): Koffi | undefined {
  const name = `@koromix/koffi-linux-${process.arch}`
  const file = join(`${usesMusl() ? 'musl' : 'linux'}_${process.arch}`, 'koffi.node')
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const modules = join(folder, 'node_modules')
    const path = [join(modules, name, file), besides(join(modules, 'koffi'), name, file)].find(
      (path) => path !== undefined && existsSync(path),
    )
    if (path !== undefined) return open(path)
    if (folder === dirname(folder)) return undefined
  }
}

/** Package managers that link packages put the dependencies of koffi next to the folder that its link points to. */
function besides(link: string, name: string, file: string): string | undefined {
  try {
    return join(dirname(realpathSync(link)), name, file)
  } catch {
    return undefined
  }
}

function open(path: string): Koffi | undefined {
  const module = { exports: {} as Partial<Koffi> }
  try {
    process.dlopen(module, path)
    return typeof module.exports.load === 'function' ? (module.exports as Koffi) : undefined
  } catch {
    return undefined
  }
}

function loadPackage(): Koffi {
  return createRequire(import.meta.url)('koffi') as Koffi
}

/** Name of the dynamic loader at the head of Node's binary tells the C library. */
function usesMusl(): boolean {
  try {
    const fd = openSync('/proc/self/exe', 'r')
    try {
      const head = Buffer.alloc(4096)
      return head.subarray(0, readSync(fd, head, 0, head.length, 0)).includes('/ld-musl-')
    } finally {
      closeSync(fd)
    }
  } catch {
    return false
  }
}

/** Binds the functions; undefined when a call that cannot fail gives a wrong answer. */
function bind(lib: Library): Native | undefined {
  const prctl = lib.func('int prctl(int option, ulong a, ulong b, ulong c, ulong d)')
  const prctlInto = lib.func('int prctl(int option, void *answer, ulong b, ulong c, ulong d)')
  const waitpid = lib.func('int waitpid(int pid, void *status, int options)')
  const fcntl = lib.func('int fcntl(int fd, int command, int argument)')
  const syscall = lib.func('long syscall(long number, long a, long b, long c, long d)')
  if (lib.func('int getpid()')() !== process.pid) return undefined

  const attempt = <T>(call: () => T, otherwise: T): T => {
    try {
      return call()
    } catch {
      return otherwise
    }
  }
  return {
    becomeSubreaper: (on = true) => attempt(() => prctl(PR_SET_CHILD_SUBREAPER, on ? 1 : 0, 0, 0, 0) === 0, false),
    isSubreaper: () =>
      attempt(() => {
        const answer = Buffer.alloc(4)
        return prctlInto(PR_GET_CHILD_SUBREAPER, answer, 0, 0, 0) === 0 && answer.readInt32LE() !== 0
      }, false),
    dieWithParent: () =>
      attempt(() => {
        const parent = process.ppid
        return prctl(PR_SET_PDEATHSIG, constants.signals.SIGKILL, 0, 0, 0) === 0 && process.ppid === parent
      }, false),
    // Any pid below 1 would mean "any child", and take the exit of one that Node waits for.
    collect: (pid) => isPid(pid) && attempt(() => waitpid(pid, null, WNOHANG) === pid, false),
    makeLease: (id) =>
      attempt(() => {
        const low = lib.func('int memfd_create(const char *name, uint flags)')(`harrow-${id}`, 0)
        if (low < 0) return undefined
        const high = fcntl(low, F_DUPFD, LOWEST_LEASE_FD)
        closeSync(low)
        return high < 0 ? undefined : high
      }, undefined),
    pidfdOpen: (pid) =>
      attempt(() => {
        const fd = isPid(pid) ? Number(syscall(SYS_pidfd_open, pid, 0, 0, 0)) : -1
        return fd < 0 ? undefined : fd
      }, undefined),
    pidfdSend: (pidfd, signal) =>
      attempt(() => Number(syscall(SYS_pidfd_send_signal, pidfd, constants.signals[signal], 0, 0)) === 0, false),
  }
}

function isPid(pid: number): boolean {
  return Number.isSafeInteger(pid) && pid > 0
}

/** Signals go through process descriptors from now on, when a trial shows that the kernel has them and lets us. */
function installSender(layer: Native): void {
  const own = layer.pidfdOpen(process.pid)
  if (own === undefined) return
  closeSync(own)
  useSender((pid, signal, stillTheSame) => {
    const pidfd = layer.pidfdOpen(pid)
    if (pidfd === undefined) return stillTheSame() && kill(pid, signal)
    try {
      return stillTheSame() && layer.pidfdSend(pidfd, signal)
    } finally {
      closeSync(pidfd)
    }
  })
}
