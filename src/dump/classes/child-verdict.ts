import { awaitedAt } from '../awaited.ts'
import { type ChildReason, childWaitOf, childWords, reasonOf, startOf } from '../children.ts'
import type { HangFacts, Verdict } from '../facts.ts'
import { childStanding } from '../others.ts'
import { oneLine, sameLine, subject, where } from '../words.ts'
import { circumstances, named, siteOf, userStack } from './common.ts'

/** The verdict of a wait for a child process, when what is wrong with the child belongs to this class. */
export function judgeChild(facts: HangFacts, name: ChildReason['class']): Verdict | undefined {
  const wait = childWaitOf(facts)
  if (wait === undefined) return undefined
  const reason = reasonOf(facts, wait)
  if (reason.class !== name) return undefined
  const { leaf, child } = wait
  const started = startOf(facts, child.pid)
  const standing = childStanding(facts, child)
  const caller = leaf.chain[1]
  const called = caller === undefined ? '' : `, called by ${awaitedAt(caller)}`
  const holder = started && !sameLine(started.site, leaf.frame.site) ? siteOf(started) : undefined
  return {
    class: name,
    variant: reason.variant,
    confidence: reason.confidence,
    diagnosis: `${subject(facts)} waits at ${awaitedAt(leaf.frame)}${called}: ${childWords(child)}${started === undefined ? '' : `, started at ${where(started.site)},`} ${reason.why}${standing === undefined ? '' : `; its code ${standing.words}`}.`,
    culprit: siteOf(leaf.frame),
    ...(holder && { holder }),
    evidence: [
      ...leaf.heldBy.slice(0, 2).map((held) => `held by ${oneLine(held.path, 160)}`),
      ...reason.evidence,
      ...(standing === undefined
        ? []
        : [
            `in the child, ${standing.thread.threadId === 0 ? 'the main thread' : standing.thread.label} ${standing.words}`,
          ]),
      ...leaf.chain.slice(2, 5).map((frame) => `awaited by ${named(frame)}`),
      ...circumstances(facts),
    ],
    hint: reason.hint,
    ...(reason.confidence === 'guess' && { alsoConsidered: ['await-never-settles-with-live-resource'] }),
    stack: userStack(leaf.chain),
  }
}
