/**
 * The calls that a real fork needs, through koffi. Every fact here is an internal of V8, libuv or the kernel, so nothing is
 * taken for granted: {@link file://./self-test.ts} tries all of it before the backend is used.
 */
import { readFileSync } from 'node:fs'
import { type Library, openLibrary } from '../../process/native.ts'

export interface ForkCalls {
  /**
   * fork(2). Directly before it, V8's memory, which it keeps out of children (MADV_DONTFORK), is given back to them: nothing
   * may allocate between the two.
   *
   * @returns the child's pid, 0 in the child, -1 when the kernel refuses
   */
  fork(): number
  /** Makes libuv's loop the child's own: its epoll descriptor, its signal pipe, its threads. 0 when that worked. */
  adoptLoop(): number
  getpid(): number
  setsid(): number
  /** Ends at once: no handlers, no threads to join, which do not exist in a forked child. */
  exitNow(code: number): void
  dup2(from: number, to: number): number
  /** -1 where it is not open. */
  close(fd: number): number
  /** Makes reads and writes of a descriptor wait. */
  makeBlocking(fd: number): void
  /** A pipe that programs do not inherit: its reading and its writing end. */
  pipe(): { read: number; write: number } | undefined
  /** How a child of this process has ended, and collects it; undefined while it runs. */
  collect(pid: number): { code: number | null; signal: number | null } | undefined
  /** Waits for its end, which has to be near, and collects it. */
  collectNow(pid: number): void
  /** Two sockets that are connected and that programs do not inherit; ours does not wait. */
  socketPair(): { ours: number; theirs: number } | undefined
  /** The kernel sends this process SIGKILL when its parent ends; 0 switches that off. */
  deathSignal(signal: number): void
  /** Memory that this process and the children that it forks from now on have in common. @throws Error when there is none */
  shared(bytes: number): ArrayBuffer
  /** Copies pages of ours now that would be copied at the first write to each. false when the kernel cannot. */
  copyNow(address: number, bytes: number): boolean
  /** Puts pages of files into our tables that would be put there at the first look at each. false when the kernel cannot. */
  mapNow(address: number, bytes: number): boolean
  /** Gives the system back what malloc holds and nobody uses; without effect where the C library has no such call. */
  trimHeap(): void
  lastError(): string
}

const MADV_DOFORK = 11
/** Linux 5.14 and later. */
const MADV_POPULATE_READ = 22
const MADV_POPULATE_WRITE = 23
const PROT_READ_WRITE = 3
const MAP_SHARED_ANONYMOUS = 0x21
const MAP_FAILED = 2n ** 64n - 1n
const PR_SET_PDEATHSIG = 1
const WNOHANG = 1
const F_GETFL = 3
const F_SETFL = 4
const O_NONBLOCK = 0o4000
const O_CLOEXEC = 0o2000000
const AF_UNIX = 1
const SOCK_STREAM = 1
const LOWEST_ADDRESS = 0x10000

let known: ForkCalls | { missing: string } | undefined

/** @returns the calls, or half a sentence about what is missing */
export function loadForkCalls(): ForkCalls | { missing: string } {
  known ??= bind()
  return known
}

function bind(): ForkCalls | { missing: string } {
  const open = openLibrary()
  if ('missing' in open) return { missing: `it needs the package koffi: ${open.missing}` }
  try {
    const { library, koffi, lastError } = open
    const span = lowSpan()
    if (span === undefined) return { missing: 'the layout of its memory cannot be read from /proc/self/maps' }
    const fork = library.func('int fork()')
    const madvise = library.func('int madvise(size_t address, size_t length, int advice)')
    const defaultLoop = library.func('void *uv_default_loop()') as unknown as () => unknown
    const loopFork = library.func('int uv_loop_fork(void *loop)')
    const waitpid = library.func('int waitpid(int pid, _Out_ int *status, int options)')
    const pipe2 = library.func('int pipe2(_Out_ int *ends, int flags)')
    const socketpair = library.func('int socketpair(int domain, int type, int protocol, _Out_ int *ends)')
    const fcntl = library.func('int fcntl(int fd, int command, int argument)')
    const prctl = library.func('int prctl(int option, ulong a, ulong b, ulong c, ulong d)')
    const dup2 = library.func('int dup2(int from, int to)')
    const exit = library.func('void _exit(int code)')
    const mmap = library.func('void *mmap(size_t at, size_t bytes, int access, int flags, int fd, long offset)')
    const trim = optional(library, 'int malloc_trim(size_t left)')
    const loop = defaultLoop()
    const status = [0]
    return {
      fork() {
        // Holes in the range make it say ENOMEM, after it has done its work.
        madvise(LOWEST_ADDRESS, span, MADV_DOFORK)
        return fork()
      },
      adoptLoop: () => loopFork(loop),
      getpid: library.func('int getpid()') as () => number,
      setsid: library.func('int setsid()') as () => number,
      exitNow: (code) => void exit(code),
      dup2: (from, to) => dup2(from, to),
      close: library.func('int close(int fd)') as (fd: number) => number,
      makeBlocking: (fd) => void fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK),
      pipe() {
        const pair = [0, 0]
        return pipe2(pair, O_CLOEXEC) === 0 ? { read: pair[0]!, write: pair[1]! } : undefined
      },
      collect(pid) {
        // Any pid below 1 would mean "any child", and take the exit of one that Node waits for.
        if (!(pid > 0) || waitpid(pid, status, WNOHANG) !== pid) return undefined
        const word = status[0]!
        const signal = word & 127
        return signal === 0 ? { code: (word >> 8) & 255, signal: null } : { code: null, signal }
      },
      collectNow: (pid) => {
        if (pid > 0) waitpid(pid, status, 0)
      },
      socketPair() {
        const pair = [0, 0]
        if (socketpair(AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0, pair) !== 0) return undefined
        const [ours, theirs] = pair as [number, number]
        fcntl(ours, F_SETFL, fcntl(ours, F_GETFL, 0) | O_NONBLOCK)
        return { ours, theirs }
      },
      deathSignal: (signal) => void prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0),
      shared(bytes) {
        const memory = mmap(0, bytes, PROT_READ_WRITE, MAP_SHARED_ANONYMOUS, -1, 0) as unknown as object
        if (koffi.address(memory) === MAP_FAILED) throw new Error(`no shared memory can be had: ${lastError()}`)
        return koffi.view(memory, bytes)
      },
      copyNow: (address, bytes) => madvise(address, bytes, MADV_POPULATE_WRITE) === 0,
      mapNow: (address, bytes) => madvise(address, bytes, MADV_POPULATE_READ) === 0,
      trimHeap: () => void trim?.(0),
      lastError,
    }
  } catch (error) {
    return { missing: `it needs functions that this Node does not give away (${(error as Error).message})` }
  }
}

function optional(library: Library, prototype: string): ReturnType<Library['func']> | undefined {
  try {
    return library.func(prototype)
  } catch {
    return undefined
  }
}

/**
 * Length of everything below the kernel's own pages. The kernel refuses MADV_DOFORK on those, and all that V8 maps lies
 * below them; one call for all of it takes 20 µs, where looking for V8's ranges takes milliseconds and misses new ones.
 */
function lowSpan(): number | undefined {
  let lowest: bigint | undefined
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    if (!/\[(vvar|vsyscall|vdso)/.test(line)) continue
    const address = BigInt(`0x${line.slice(0, line.indexOf('-'))}`)
    if (lowest === undefined || address < lowest) lowest = address
  }
  return lowest === undefined ? undefined : Number(lowest) - LOWEST_ADDRESS
}
