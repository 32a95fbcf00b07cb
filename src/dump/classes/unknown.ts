import { leavesOf } from '../chains.ts'
import type { HangClass, HangFacts, Verdict } from '../facts.ts'
import { seconds, subject } from '../words.ts'
import { circumstances, siteOf, userStack } from './common.ts'

/** Nothing else fits. Says what is known and what is not. */
export const unknown: HangClass = {
  name: 'unknown',
  judge(facts) {
    const leaf = leavesOf(facts)[0]
    if (leaf === undefined && facts.body === 'plain' && facts.loop === 'idle') return bare(facts)
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

/** A test function that is not async suspends nowhere: what it returned is pending, and no line of it can be named. */
function bare(facts: HangFacts): Verdict {
  return {
    class: 'unknown',
    confidence: 'guess',
    diagnosis: `${subject(facts)} returned a promise that has not settled after ${seconds(facts.waitedMs, 1)}; its function is not async, so no line of it is suspended anywhere.`,
    culprit: facts.file,
    evidence: circumstances(facts),
    hint: 'make the test function async and await the promise: then the line can be named',
    alsoConsidered: ['await-never-settles-with-live-resource', 'lost-promise'],
    stack: [],
  }
}
