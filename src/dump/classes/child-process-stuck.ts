import type { HangClass } from '../facts.ts'
import { judgeChild } from './child-verdict.ts'

/** A wait for a child process that cannot go on or is done, and does not end: open stdin, open channel, kept output. */
export const childProcessStuck: HangClass = {
  name: 'child-process-stuck',
  judge: (facts) => judgeChild(facts, 'child-process-stuck'),
}
