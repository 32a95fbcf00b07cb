import { awaitedAt } from '../awaited.ts'
import type { HangClass } from '../facts.ts'
import { streamWaitOf } from '../stream-waits.ts'
import { oneLine, sameLine, subject } from '../words.ts'
import { judgeChild } from './child-verdict.ts'
import { circumstances, named, siteOf, userStack } from './common.ts'

const NAME = 'pipe-or-backpressure-deadlock'

/** A stream or a pipe that is full, unread, destroyed or never ended, and somebody who waits for it to move. */
export const pipeOrBackpressureDeadlock: HangClass = {
  name: NAME,
  judge(facts) {
    const child = judgeChild(facts, NAME)
    if (child !== undefined) return child
    const wait = streamWaitOf(facts)
    if (wait === undefined) return undefined
    const { frame, chain, heldBy, stuck } = wait
    const caller = chain[1]
    const called = caller === undefined ? '' : `, called by ${awaitedAt(caller)}`
    const holder = stuck.holder && !sameLine(stuck.holder.site, frame.site) ? siteOf(stuck.holder) : undefined
    return {
      class: NAME,
      variant: stuck.variant,
      confidence: stuck.confidence,
      diagnosis: `${subject(facts)} waits at ${awaitedAt(frame)}${called}: ${stuck.why}.`,
      culprit: siteOf(frame),
      ...(holder && { holder }),
      evidence: [
        ...heldBy.slice(0, 3).map((held) => `held by ${oneLine(held.path, 160)}`),
        ...stuck.evidence,
        ...chain.slice(2, 5).map((one) => `awaited by ${named(one)}`),
        ...circumstances(facts),
      ],
      hint: stuck.hint,
      ...(stuck.confidence === 'guess' && {
        alsoConsidered: ['lost-promise', 'await-never-settles-with-live-resource'],
      }),
      stack: userStack(chain),
    }
  },
}
