/** Clean copies of the clock: fake timers in a test must not stop the runtime. */
export { monotonic } from '../process/clean.ts'

const setTimer = setTimeout
const endTimer = clearTimeout

/** Keeps the event loop alive until it fires or is cleared. */
export function startTimer(callback: () => void, ms: number): NodeJS.Timeout {
  return setTimer(callback, ms)
}

export function clearTimer(timer: NodeJS.Timeout | undefined): void {
  endTimer(timer)
}
