import { UsageError } from '../errors.ts'

let taskGrace = 500

/** Limits of this process, milliseconds; what is no finite number from 0 up is refused with a UsageError. */
export const scopeLimits = {
  /** How long a cancelled task may take that does not react, before it is given up (R-003). */
  get taskGrace(): number {
    return taskGrace
  },
  set taskGrace(ms: number) {
    taskGrace = checkMs('scopeLimits.taskGrace', ms)
  },
}

/** The largest delay of a Node timer (2^31 - 1 ms, `lib/internal/timers.js`); it fires at once for a longer one. */
export const MAX_MS = 2 ** 31 - 1

/** @throws UsageError unless it is an `AbortSignal`, or looks like one of another realm */
export function checkSignal(what: string, signal: unknown): AbortSignal {
  const { addEventListener, removeEventListener } = (signal ?? {}) as Partial<AbortSignal>
  if (typeof addEventListener === 'function' && typeof removeEventListener === 'function') return signal as AbortSignal
  throw new UsageError(`${what} expects an AbortSignal, got ${signal === null ? 'null' : typeof signal}.`)
}

/** A wrong value as a message shows it: `"5" (a string)` for what would look like the number. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `${JSON.stringify(value)} (a string)`
  if (typeof value === 'bigint') return `${value}n`
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
    ? `a value of type ${typeof value}`
    : String(value)
}

/**
 * @param instead what to do for no limit
 * @throws UsageError unless `ms` is a finite number of milliseconds from 0 up
 */
export function checkMs(what: string, ms: unknown, instead = ''): number {
  if (typeof ms === 'number' && Number.isFinite(ms) && ms >= 0) return Math.min(ms, MAX_MS)
  const cure = ms === Number.POSITIVE_INFINITY ? instead : ''
  throw new UsageError(
    `${what} expects milliseconds, a finite number from 0 up, got ${shown(ms)}.${cure && ` ${cure}`}`,
  )
}

/** @throws UsageError unless it is a whole number from `least` up */
export function checkCount(what: string, count: unknown, least: number): number {
  if (typeof count === 'number' && Number.isSafeInteger(count) && count >= least) return count
  throw new UsageError(`${what} expects a whole number from ${least} up, got ${shown(count)}.`)
}
