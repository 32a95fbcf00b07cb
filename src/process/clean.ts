/**
 * Copies of the functions that the process code needs, taken when this module is loaded: fake timers, spies on `fs`
 * or a stubbed `process.kill` in the user's tests must neither disarm it nor see its calls.
 */
import type { ExecFileSyncOptionsWithStringEncoding } from 'node:child_process'
import fs from 'node:fs'

export const openSync = fs.openSync
export const readSync = fs.readSync
export const closeSync = fs.closeSync
export const readdirSync = fs.readdirSync
export const readlinkSync = fs.readlinkSync
export const statSync = fs.statSync
export const fstatSync = fs.fstatSync
export const writeSync = fs.writeSync

/** Off Linux, where `ps` is asked; not loaded elsewhere, for it costs every start of an actor 4 ms. */
const execFile = process.platform === 'linux' ? undefined : process.getBuiltinModule('node:child_process').execFileSync
export function execFileSync(file: string, args: string[], options: ExecFileSyncOptionsWithStringEncoding): string {
  return (execFile ?? process.getBuiltinModule('node:child_process').execFileSync)(file, args, options)
}

const hrtime = process.hrtime

/**
 * Monotonic clock, milliseconds since some time in the past. Not `performance.now()`: `performance` is loaded when it is first
 * touched, which costs every start of an actor 3 ms.
 */
export function monotonic(): number {
  const [seconds, nanoseconds] = hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

/** Sends a signal; the process code calls it through `signalProcess` only. */
export const kill: typeof process.kill = process.kill.bind(process)

/** Milliseconds since the epoch of a date text. */
export const parseDate = Date.parse

export const setTimer = setTimeout
export const clearTimer = clearTimeout
export const setTurn = setImmediate
export const clearTurn = clearImmediate
export const setTick = setInterval
export const clearTick = clearInterval

/** Waits `ms` milliseconds of real time; keeps the process alive meanwhile. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimer(resolve, ms)
  })
}
