import { UsageError } from '../errors.ts'

/** Limits of this process, milliseconds. */
export const scopeLimits = {
  /** How long a cancelled task may take that does not react, before it is given up. */
  taskGrace: 500,
}

/** The largest delay of a Node timer (2^31 - 1 ms, `lib/internal/timers.js`). */
const MAX_MS = 2 ** 31 - 1

/** @throws UsageError unless it is an `AbortSignal`, or looks like one of another realm */
export function checkSignal(what: string, signal: unknown): AbortSignal {
  const { addEventListener, removeEventListener } = (signal ?? {}) as Partial<AbortSignal>
  if (typeof addEventListener === 'function' && typeof removeEventListener === 'function') return signal as AbortSignal
  throw new UsageError(`${what} expects an AbortSignal, got ${signal === null ? 'null' : typeof signal}.`)
}

/** @throws UsageError unless `ms` is a finite number of milliseconds from 0 up */
export function checkMs(what: string, ms: unknown): number {
  if (typeof ms === 'number' && Number.isFinite(ms) && ms >= 0) return Math.min(ms, MAX_MS)
  throw new UsageError(`${what} expects milliseconds, a finite number from 0 up, got ${String(ms)}.`)
}
