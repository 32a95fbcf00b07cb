/** Questions of the worker to the main process that are answered by a `verdict`, each with a bound. */
import type { Failure, FromWorker, ReapedProcess, ToWorker } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import { clearTimeout, post, setTimeout } from './globals.ts'

export interface Verdict {
  failures: Failure[]
  reaped: ReapedProcess[]
}

/** The main process ends processes within about five seconds; a test run must not stand still when it does not answer. */
const ANSWER_MS = 15_000

const waiting = new Map<number, (verdict: Verdict) => void>()
let asked = 0

type Question<T> = T extends { n: number } ? Omit<T, 'n'> : never

/** Sends a question; an empty verdict when no answer comes in time. */
export function ask(question: Question<Extract<FromWorker, { [MARK]: 'file-end' | 'reap' }>>): Promise<Verdict> {
  const n = ++asked
  return new Promise((resolve) => {
    const late = setTimeout(() => done({ failures: [], reaped: [] }), ANSWER_MS)
    const done = (verdict: Verdict): void => {
      clearTimeout(late)
      waiting.delete(n)
      resolve(verdict)
    }
    waiting.set(n, done)
    post({ ...question, n })
  })
}

export function answered({ n, failures, reaped }: Extract<ToWorker, { [MARK]: 'verdict' }>): void {
  waiting.get(n)?.({ failures, reaped })
}
