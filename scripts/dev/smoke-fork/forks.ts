// The calls that a real fork of Node needs, in their shortest form: for scripts/dev/smoke-fork.ts, without harrow.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

type Call = (...args: unknown[]) => number
const koffi = createRequire(import.meta.url)('koffi') as { load(path: null): { func(prototype: string): Call } }
const library = koffi.load(null)
const fork = library.func('int fork()')
const madvise = library.func('int madvise(size_t, size_t, int)')
const waitpid = library.func('int waitpid(int, _Out_ int *, int)')
const loop = library.func('void *uv_default_loop()')()
const loopFork = library.func('int uv_loop_fork(void *)')
export const exitNow = library.func('void _exit(int)')
export const getpid = library.func('int getpid()')

const MADV_DOFORK = 11
const LOW = 0x10000
/** V8 keeps its memory out of children; all of it lies below the kernel's pages, which refuse the call. */
const top = Math.min(
  ...readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .filter((line) => /\[(vvar|vdso|vsyscall)/.test(line))
    .map((line) => Number.parseInt(line, 16)),
)

/** 0 in the child. */
export function realFork({ adoptLoop = true } = {}): number {
  madvise(LOW, top - LOW, MADV_DOFORK)
  const pid = fork()
  if (pid === 0 && adoptLoop) loopFork(loop)
  return pid
}

/** How a child ends, and `hang` (after which it is killed) when it does not. */
export async function endOf(pid: number, limitMs: number): Promise<string> {
  const status = [0]
  const until = performance.now() + limitMs
  while (waitpid(pid, status, 1) !== pid) {
    if (performance.now() > until) {
      process.kill(pid, 'SIGKILL')
      waitpid(pid, status, 0)
      return 'hang'
    }
    await sleep(2)
  }
  return wordsOf(status[0]!)
}

/** The same without an event loop. */
export function endOfNow(pid: number): string {
  const status = [0]
  waitpid(pid, status, 0)
  return wordsOf(status[0]!)
}

function wordsOf(status: number): string {
  const signal = status & 127
  return signal === 0 ? `code ${(status >> 8) & 255}` : `signal ${signal}`
}
