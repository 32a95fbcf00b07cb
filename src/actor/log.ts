/** The runtime's own words, on stderr: that is the actor's log file in a child. */
import { writeSync } from 'node:fs'
import { UsageError } from '../errors.ts'

/** Loudest first. `cancel` tells of orderly cancellations, `transport` of channels, `runtime` of everything else inside. */
export const LOG_LEVELS = [
  'critical',
  'error',
  'warning',
  'info',
  'cancel',
  'runtime',
  'transport',
  'debug',
  'silent',
] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

const DEFAULT: LogLevel = 'warning'

let threshold = LOG_LEVELS.indexOf(DEFAULT)
let who = 'root'

/** @throws UsageError for an unknown level, naming the valid ones */
export function checkLogLevel(level: unknown): LogLevel {
  if (LOG_LEVELS.includes(level as LogLevel)) return level as LogLevel
  throw new UsageError(`log level expects one of ${LOG_LEVELS.join(', ')}, got ${JSON.stringify(level)}.`)
}

/** `HARROW_LOGLEVEL` beats what the caller says, which beats `warning`. */
export function resolveLogLevel(caller?: LogLevel): LogLevel {
  const env = process.env.HARROW_LOGLEVEL
  return env ? checkLogLevel(env) : (caller ?? DEFAULT)
}

export function setLogLevel(level: LogLevel): void {
  threshold = level === 'silent' ? -1 : LOG_LEVELS.indexOf(level)
}

export function logLevel(): LogLevel {
  return LOG_LEVELS[threshold] ?? 'silent'
}

/** Names the actor in each line. */
export function setLogName(name: string): void {
  who = name
}

/** The actor that each line names. */
export const logName = (): string => who

/** Would a line of this level be written? For texts that cost something to make. */
export function logs(level: LogLevel): boolean {
  return LOG_LEVELS.indexOf(level) <= threshold
}

/** Writes one line at once, so that the last line before an abrupt end is there. Never throws. */
export function log(level: LogLevel, text: string, actor = who): void {
  if (!logs(level)) return
  try {
    writeSync(2, `${new Date().toISOString()} ${level.toUpperCase()} harrow[${actor}] ${text}\n`)
  } catch {
    // A closed or full stderr must not end the actor.
  }
}
