/** Limits of waits for what a peer says. */
import { clearTimer, clearTurn, setTimer, setTurn } from '../process/clean.ts'

/** Calls back when whatever has arrived by now has been read: the second `setImmediate` comes behind a whole turn of the loop. */
export function afterReading(then: () => void): void {
  setTurn(() => setTurn(then))
}

/**
 * Calls back after `limitMs`, but not before all that had arrived by then has been read: on a busy machine timers that are
 * overdue run first, and an answer that lies in the socket would count as none.
 *
 * @returns takes it back
 */
export function lateAfter(limitMs: number, then: () => void): () => void {
  let turn: NodeJS.Immediate | undefined
  const timer = setTimer(() => {
    turn = setTurn(() => {
      turn = setTurn(then)
    })
  }, limitMs)
  return () => {
    clearTimer(timer)
    clearTurn(turn)
  }
}
