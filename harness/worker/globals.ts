/**
 * Clean copies of the globals that the worker side uses, taken before any user code runs: fake timers, a replaced
 * `Date`, `process.on` or `process.exit` cannot disarm the watcher.
 */
import { writeSync } from 'node:fs'
import { isMainThread, parentPort, threadId } from 'node:worker_threads'

export const setTimeout = globalThis.setTimeout
export const clearTimeout = globalThis.clearTimeout
export const setImmediate = globalThis.setImmediate
export const writeAt = writeSync
export const clone = globalThis.structuredClone
export const thread = threadId

const perfNow = performance.now.bind(performance)
const origin = performance.timeOrigin

/** Milliseconds since the epoch on the monotonic clock: comparable between processes, deaf to a replaced `Date`. */
export const now = (): number => origin + perfNow()

let send = process.send?.bind(process)
const processOn = process.on.bind(process)
const port = parentPort
const portPost = port?.postMessage.bind(port)
const portOn = port?.on.bind(port)

/** For a process that was forked from one that had loaded this module: it has a channel of its own. */
export function takeChannel(): void {
  send = process.send?.bind(process)
}

/** Sends a message to the vitest main process; silent when the channel is gone. */
export function post(message: unknown): void {
  try {
    if (isMainThread) send?.(message)
    else portPost?.(message)
  } catch {
    // The main process went away or the channel is closing: nobody is left to be told.
  }
}

/** Listens to messages of the vitest main process. */
export function onMessage(listener: (message: unknown) => void): void {
  if (isMainThread) processOn('message', listener)
  else portOn?.('message', listener)
}
