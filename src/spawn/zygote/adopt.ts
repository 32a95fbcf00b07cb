/** What a forked child must put right before it runs anything of its own; each item stands in docs/backends/zygote.md. */
import { writeSync } from '../../process/clean.ts'
import type { ForkCalls } from './syscalls.ts'

const { randomInt, randomUUID } = process.getBuiltinModule('node:crypto')

/** Node's cache of random UUIDs holds 128 of them, that of `randomInt` 6 KiB, six bytes a call. */
const UUIDS_CACHED = 128
const INTS_CACHED = 1024

/** The pid that Node has cached is the zygote's. */
export function adoptPid(calls: ForkCalls): number {
  const pid = calls.getpid()
  Object.defineProperty(process, 'pid', { value: pid, enumerable: true, configurable: true, writable: true })
  return pid
}

/**
 * Draws until the caches are filled anew. The zygote does this after each fork: what a child finds in its copy, nobody else
 * ever sees. In the child it would cost some hundred page faults.
 */
export function burnCaches(): void {
  for (let i = 0; i < UUIDS_CACHED; i++) randomUUID()
  for (let i = 0; i <= INTS_CACHED; i++) randomInt(2)
}

/** The state of V8's generator is the same in all siblings and cannot be set: ours takes its place. */
export function replaceMathRandom(seed: Buffer): void {
  Math.random = generator([0, 4, 8, 12].map((at) => seed.readInt32LE(at)) as [number, number, number, number])
}

/** sfc32 of Chris Doty-Humphrey (PractRand), 53 bits a number; its state is mixed by twelve draws. */
function generator([a, b, c, d]: [number, number, number, number]): () => number {
  const draw = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return t >>> 0
  }
  for (let i = 0; i < 12; i++) draw()
  return () => ((draw() >>> 5) * 0x4000000 + (draw() >>> 6)) / 2 ** 53
}

/** Handlers of the zygote's end, and of its signals, are not the child's. */
export function dropListeners(): void {
  process.removeAllListeners('exit')
  process.removeAllListeners('beforeExit')
  for (const name of process.eventNames()) {
    if (typeof name === 'string' && name.startsWith('SIG')) process.removeAllListeners(name)
  }
}

type FatalHandler = (error: unknown, fromPromise: boolean) => boolean

/**
 * Node's own end joins threads that a forked child does not have: it would hang, or end by SIGSEGV. Handlers run as ever;
 * then the process ends by `_exit`.
 *
 * @returns its `last` is told the exit code at the very end
 */
export function adoptExit(calls: ForkCalls): { last?: (code: number) => void } {
  const told: { last?: (code: number) => void } = {}
  const end = (code: number): never => {
    told.last?.(code)
    calls.exitNow(code)
    throw new Error('unreachable')
  }
  const inside = process as unknown as {
    reallyExit(code?: number): never
    emit(name: string, ...args: unknown[]): boolean
    _fatalException?: FatalHandler
  }
  inside.reallyExit = (code) => end(Number(code ?? process.exitCode ?? 0))
  let failing = false
  // Node emits `exit` also when nothing is left to do, and would end in its own way after that.
  const emit = inside.emit
  inside.emit = function (name, ...args) {
    const heard = emit.call(this, name, ...args)
    if (name === 'exit' && !failing) end(Number(process.exitCode ?? args[0] ?? 0))
    return heard
  }
  const handle = inside._fatalException
  if (typeof handle !== 'function') return told
  inside._fatalException = (error, fromPromise) => {
    failing = true
    // Emits `uncaughtException`, or `exit` where nobody listens to it.
    const handled = handle.call(process, error, fromPromise)
    failing = false
    if (handled) return true
    try {
      writeSync(2, `${describe(error)}\n\nNode.js ${process.version}\n`)
    } catch {
      // A closed stderr.
    }
    return end(Number(process.exitCode ?? 1) || 1)
  }
  return told
}

function describe(error: unknown): string {
  if (error instanceof Error) return error.stack ?? `${error.name}: ${error.message}`
  return `Uncaught:\n${String(error)}`
}
