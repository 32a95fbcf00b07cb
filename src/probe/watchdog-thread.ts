/** The thread behind `dumpOnHang` and `dumpOnSignal`. It sleeps until a limit passes, a signal or a message comes. */
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { dumpOwnProcess } from './dump-own-process.ts'
import type { Begin, FromWatchdog, ToWatchdog } from './watchdog-messages.ts'

const beats = workerData as Int32Array
/** Ends of the watches, by id. */
const ends = new Map<number, () => void>()
const watches = new Map<number, Begin>()
/** Signals that led to a dump, by watch. */
const handled = new Map<number, number>()
/** One after the other: they are about the same thread. */
let queue: Promise<void> = Promise.resolve()
/** A loop that stands still is dumped again when it has turned and stands still once more. */
const LOOK_MS = 50
/** The longest that a timer takes. */
const LONGEST_TIMER = 2 ** 31 - 1

parentPort!.on('message', (message: ToWatchdog) => {
  if ('end' in message) end(message.id)
  else if ('signals' in message) relayed(message.id, message.signals)
  else begin(message)
})

function begin(watch: Begin): void {
  watches.set(watch.id, watch)
  if (watch.what === 'deadline') {
    const left = watch.at + watch.ms - (performance.timeOrigin + performance.now())
    const timer = setTimeout(() => dump(watch.id), Math.min(Math.max(left, 0), LONGEST_TIMER))
    ends.set(watch.id, () => clearTimeout(timer))
  } else if (watch.what === 'loop') {
    ends.set(watch.id, watchLoop(watch.id, watch.ms))
  } else {
    const heard = (): void => {
      handled.set(watch.id, (handled.get(watch.id) ?? 0) + 1)
      dump(watch.id)
    }
    ends.set(watch.id, listen(watch.signal, heard))
  }
  parentPort!.postMessage({ id: watch.id, ready: true } satisfies FromWatchdog)
}

/** The main thread hears of the same signals, some later; only one that came before this thread listened is news. */
function relayed(id: number, signals: number): void {
  if ((handled.get(id) ?? 0) >= signals) return
  handled.set(id, signals)
  dump(id)
}

function end(id: number): void {
  if (id === 0) {
    parentPort!.close()
    return
  }
  ends.get(id)?.()
  ends.delete(id)
  watches.delete(id)
}

function watchLoop(id: number, ms: number): () => void {
  let seen = Atomics.load(beats, 0)
  let since = performance.now()
  let told = false
  const timer = setInterval(
    () => {
      const now = Atomics.load(beats, 0)
      if (now !== seen) {
        seen = now
        since = performance.now()
        told = false
      } else if (!told && performance.now() - since >= ms) {
        told = true
        dump(id)
      }
    },
    Math.min(LOOK_MS, ms / 4),
  )
  return () => clearInterval(timer)
}

interface SignalWrap {
  onsignal: () => void
  unref(): void
  start(signal: number): number
  close(): void
}

/**
 * Node gives signals to the main thread only, at a turn of its loop. libuv tells every loop that asked: what asks is a
 * class of Node's that is not public. Without it the main thread passes the signal on when it can.
 */
function listen(signal: NodeJS.Signals, tell: () => void): () => void {
  try {
    const require = createRequire(import.meta.url)
    const { internalBinding } = require('internal/test/binding') as { internalBinding(name: string): unknown }
    const { Signal } = internalBinding('signal_wrap') as { Signal: new () => SignalWrap }
    const wrap = new Signal()
    wrap.unref()
    wrap.onsignal = tell
    if (wrap.start(constants.signals[signal]) !== 0) return () => {}
    return () => wrap.close()
  } catch {
    return () => {}
  }
}

function dump(id: number): void {
  const watch = watches.get(id)
  if (watch === undefined) return
  queue = queue.then(async () => {
    const written = await dumpOwnProcess(watch)
    parentPort!.postMessage({ id, ...written } satisfies FromWatchdog)
  })
}
