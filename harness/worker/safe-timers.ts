/** vitest keeps the timers that it uses itself under a symbol on the global object. */
import { setTimeout } from './globals.ts'

const NAME = 'vitest:SAFE_TIMERS'

/**
 * Gives vitest's own deadlines Node's `setTimeout` without our record of it: it starts two for each test, and a stack of
 * each would cost more than all else that harrow does for a test. Does nothing where the symbol is not found.
 */
export function leaveVitestTimers(): void {
  for (const symbol of Object.getOwnPropertySymbols(globalThis)) {
    if (symbol.description !== NAME) continue
    const timers = (globalThis as Record<symbol, unknown>)[symbol] as { setTimeout?: unknown } | undefined
    if (timers && typeof timers.setTimeout === 'function') timers.setTimeout = setTimeout
  }
}
