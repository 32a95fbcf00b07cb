/** `dumpOnHang` and `dumpOnSignal`: a thread of its own watches the main thread, and writes what it is doing to a file. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker } from 'node:worker_threads'
import type { RedactNames } from '../dump/redact.ts'
import { UsageError } from '../errors.ts'
import type { FromWatchdog, ToWatchdog, Watched } from './watchdog-messages.ts'
import { WATCHDOG_NAME } from './watchdog-messages.ts'

// Kept at import: a fake clock that the program installs later must not stop the heart.
const { setInterval, clearInterval } = globalThis
const now = performance.now.bind(performance)
const epoch = (): number => performance.timeOrigin + now()

/** Options of {@link dumpOnHang} and {@link dumpOnSignal}. */
export interface WatchOptions {
  /**
   * File to write to, mode 0600; it appears whole. A name that ends in `.json` gets the record (`DumpRecord`), any other the
   * text. A file that is there is replaced. Without it, both forms go to `.harrow/dumps` below the working folder.
   */
  path?: string
  /** Names (strings: regular expressions without regard to case) whose values are never written, beside the built-in list. */
  redact?: RedactNames
  /** Largest heap that is searched for who holds what is awaited, megabytes; 150 by default. */
  heapLimitMb?: number
  /** Called with the path of a dump when it has been written, or with why it could not be; once the loop turns again. */
  onDump?: (written: { path: string } | { error: string }) => void
}

/** Options of {@link dumpOnHang}. */
export interface HangWatchOptions extends WatchOptions {
  /**
   * `'call'`: dump once when the returned function was not called within the time, whatever the reason. `'loop'`: dump
   * whenever the event loop has not turned for that long, until the returned function is called.
   * @default 'call'
   */
  watch?: 'call' | 'loop'
}

/** Ends a watch; may be called again. Also works with `using`. */
export interface StopWatch {
  (): void
  /**
   * Settles when the watching thread has started, some tens of milliseconds after the call. Until then a signal is only seen
   * at a turn of the event loop; limits count from the call in any case.
   */
  readonly ready: Promise<void>
  [Symbol.dispose](): void
}

interface Watch {
  message: ToWatchdog
  ready: () => void
  onDump: WatchOptions['onDump']
}

/** The one thread of this process that watches. */
interface Watchdog {
  worker: Worker
  /** Counts turns of the event loop. */
  beats: Int32Array
  heart: NodeJS.Timeout | undefined
  watches: Map<number, Watch>
}

/** Twenty times a second at most, and some times within the shortest limit. */
const BEAT_MS = 50
const LONGEST_S = 2_000_000

let watchdog: Watchdog | undefined
let lastId = 0

/**
 * Writes a dump of this process to a file when something takes too long: the stack when JavaScript blocks the main thread,
 * the suspended functions with the very line of their `await` when it waits for a promise, the sentence of the kernel when
 * it sits in a system call; with worker threads, open resources and child processes. The process goes on.
 *
 * The watch is kept by a worker thread, which works also while the main thread is blocked. It keeps neither the process
 * alive nor an inspector session open while all is well; it costs a thread (some megabytes) and, with `watch: 'loop'`, a
 * timer that counts. Taking the dump stops the main thread for some hundred milliseconds, on large heaps for seconds.
 *
 * @param seconds time until it counts as a hang
 * @returns the function that ends the watch: call it when what was to be watched is done
 * @throws {UsageError} when called outside the main thread, or with a time or option that makes no sense
 * @example
 * ```ts
 * import { dumpOnHang } from 'harrow'
 *
 * const done = dumpOnHang(30, { path: 'import.txt' })
 * await import('node:http')
 * done()
 * ```
 */
export function dumpOnHang(seconds: number, options: HangWatchOptions = {}): StopWatch {
  if (!(typeof seconds === 'number' && seconds > 0 && seconds <= LONGEST_S)) {
    throw new UsageError(`dumpOnHang expects seconds above 0 (at most ${LONGEST_S}), got ${String(seconds)}`)
  }
  const { watch = 'call' } = options
  if (watch !== 'call' && watch !== 'loop') {
    throw new UsageError(`watch of dumpOnHang should be 'call' or 'loop', got ${JSON.stringify(watch)}`)
  }
  return start('dumpOnHang', options, { what: watch === 'call' ? 'deadline' : 'loop', ms: 1000 * seconds })
}

/**
 * Writes a dump of this process to a file on every signal, also while the main thread is blocked in a loop: `kill -USR2
 * <pid>` from any shell tells what it is doing. The process goes on; the signal does nothing else.
 *
 * Signals reach worker threads only through an internal module of Node's (`--expose-internals` in that thread alone); where
 * a later Node has none, the dump comes when the event loop turns.
 *
 * @param signal default `'SIGUSR2'`; not `SIGUSR1`, which opens the inspector, nor one that cannot be caught
 * @returns the function that ends it: the signal then does again what it did before
 * @throws {UsageError} when called outside the main thread, or with a signal that cannot be used
 * @example
 * ```ts
 * import { dumpOnSignal } from 'harrow'
 *
 * const stop = dumpOnSignal('SIGUSR2', { path: 'now.txt' })
 * stop()
 * ```
 */
export function dumpOnSignal(signal: NodeJS.Signals = 'SIGUSR2', options: WatchOptions = {}): StopWatch {
  if (
    !/^SIG(?:USR2|HUP|QUIT|TERM|INT|WINCH|ALRM|VTALRM|URG|CONT|IO|PWR|TRAP|SYS|XCPU|XFSZ|PIPE|BREAK)$/.test(
      String(signal),
    )
  ) {
    throw new UsageError(
      `dumpOnSignal expects a signal that can be caught and is free, such as 'SIGUSR2', got ${JSON.stringify(signal)}`,
    )
  }
  return start('dumpOnSignal', options, { what: 'signal', signal })
}

function start(name: string, options: WatchOptions, watched: Watched): StopWatch {
  if (!isMainThread)
    throw new UsageError(`${name} watches the main thread and must be called there, not in a worker thread`)
  const { path, redact = [], heapLimitMb = 150, onDump } = options
  if (path !== undefined && (typeof path !== 'string' || path === '')) {
    throw new UsageError(`path of ${name} should be the path of a file, got ${JSON.stringify(path)}`)
  }
  if (!(typeof heapLimitMb === 'number' && heapLimitMb >= 0)) {
    throw new UsageError(`heapLimitMb of ${name} should be a number from 0, got ${String(heapLimitMb)}`)
  }
  const id = ++lastId
  const dog = get()
  const message: ToWatchdog = {
    id,
    at: epoch(),
    ...watched,
    path: path === undefined ? null : resolve(path),
    redact: [...redact],
    heapLimit: heapLimitMb * 1024 * 1024,
  }
  const ready = Promise.withResolvers<void>()
  dog.watches.set(id, { message, onDump, ready: ready.resolve })
  // Until the thread listens for it, and where it cannot: the default of most signals would end the process.
  let signals = 0
  const relay = (): void => dog.worker.postMessage({ id, signals: ++signals } satisfies ToWatchdog)
  if (watched.what === 'signal') process.on(watched.signal, relay)
  if (watched.what === 'loop') beat(dog)
  dog.worker.postMessage(message)
  let open = true
  const stop = (): void => {
    if (!open) return
    open = false
    if (watched.what === 'signal') process.off(watched.signal, relay)
    dog.watches.delete(id)
    ready.resolve()
    release(dog, id)
  }
  return Object.assign(stop, { ready: ready.promise, [Symbol.dispose]: stop })
}

function get(): Watchdog {
  if (watchdog !== undefined) return watchdog
  const beats = new Int32Array(new SharedArrayBuffer(4))
  const strip = import.meta.url.endsWith('.ts') ? ['--experimental-strip-types'] : []
  const worker = new Worker(threadPath(), {
    name: WATCHDOG_NAME,
    workerData: beats,
    execArgv: ['--expose-internals', '--no-warnings', ...strip],
    env: { ...process.env, NODE_OPTIONS: '' },
    stdin: false,
  })
  const dog: Watchdog = { worker, beats, heart: undefined, watches: new Map() }
  worker.on('message', ({ id, ...told }: FromWatchdog) => {
    const watch = dog.watches.get(id)
    if ('ready' in told) watch?.ready()
    else watch?.onDump?.(told)
  })
  worker.on('error', (error) => {
    for (const { onDump, ready } of dog.watches.values()) {
      ready()
      onDump?.({ error: `the watching thread failed: ${error.message}` })
    }
    if (watchdog === dog) watchdog = undefined
  })
  // Last: a listener makes its port hold the process again.
  worker.unref()
  watchdog = dog
  return dog
}

/** Beside this file in a checkout (as `.ts`), below the folder of the bundle in the package. */
function threadPath(): string {
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const places = [`./watchdog-thread.${ending}`, `./probe/watchdog-thread.${ending}`]
  const found = places.map((place) => fileURLToPath(new URL(place, import.meta.url))).find((place) => existsSync(place))
  if (found === undefined) throw new Error('harrow is not installed whole: the thread of dumpOnHang is missing')
  return found
}

function beat(dog: Watchdog): void {
  dog.heart ??= setInterval(() => Atomics.add(dog.beats, 0, 1), BEAT_MS).unref()
}

function release(dog: Watchdog, id: number): void {
  const watches = [...dog.watches.values()]
  if (dog.heart !== undefined && !watches.some(({ message }) => 'what' in message && message.what === 'loop')) {
    clearInterval(dog.heart)
    dog.heart = undefined
  }
  dog.worker.postMessage({ id, end: true } satisfies ToWatchdog)
  if (watches.length > 0) return
  if (watchdog === dog) watchdog = undefined
  dog.worker.postMessage({ id: 0, end: true } satisfies ToWatchdog)
}
