import { leavesOf } from '../chains.ts'
import type { HangClass } from '../facts.ts'
import { seconds, subject } from '../words.ts'
import { circumstances, siteOf, userStack } from './common.ts'

/** Nothing else fits. Says what is known and what is not. */
export const unknown: HangClass = {
  name: 'unknown',
  judge(facts) {
    const leaf = leavesOf(facts)[0]
    const blind = facts.awaits === null ? ', and its heap was not read' : ''
    return {
      class: 'unknown',
      confidence: 'guess',
      diagnosis: `${subject(facts)} has not ended after ${seconds(facts.waitedMs, 1)}: the event loop is ${facts.loop}${blind}, and the facts do not say what it waits for.`,
      ...(leaf && { culprit: siteOf(leaf.frame) }),
      evidence: [
        ...(facts.awaits === null
          ? []
          : [`${facts.awaits.filter((one) => one.user).length} suspended functions of the user's code`]),
        ...facts.kernel,
        ...circumstances(facts),
      ],
      hint: 'see the capture notes for what could not be taken, and run the test again alone',
      alsoConsidered: [],
      stack: userStack(leaf?.chain ?? []),
    }
  },
}
