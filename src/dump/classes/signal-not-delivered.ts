import { awaitedAt } from '../awaited.ts'
import { leavesOf } from '../chains.ts'
import type { HangClass, HangFacts, Verdict } from '../facts.ts'
import { sameLine, subject, where } from '../words.ts'
import { judgeChild } from './child-verdict.ts'
import { circumstances, firstUser, siteOf, userStack } from './common.ts'

const NAME = 'signal-not-delivered'
const SIGNAL = /^SIG[A-Z0-9]+$/

/** A signal was sent, and what it should have brought about has not happened; or one is waited for that does not come. */
export const signalNotDelivered: HangClass = {
  name: NAME,
  judge: (facts) => judgeChild(facts, NAME) ?? ownSignal(facts),
}

/** The test's own process waits for a signal. */
function ownSignal(facts: HangFacts): Verdict | undefined {
  if (facts.loop !== 'idle') return undefined
  for (const leaf of leavesOf(facts)) {
    const held = leaf.heldBy.find((one) => one.owner === 'process' && SIGNAL.test(one.event ?? ''))
    if (held === undefined) continue
    const signal = held.event as string
    const sent = (facts.waitedFor?.signals ?? []).findLast((one) => one.signal === signal)
    const at = firstUser(sent?.frames)
    // Signals are a matter of the main thread: a listener in a worker thread is never called.
    const thread = /thread/i.test(facts.pool)
    const why = thread
      ? 'this test runs in a worker thread, where Node delivers no signals'
      : sent === undefined
        ? 'nobody here has sent it'
        : `it was sent to process ${sent.pid}${at === undefined ? '' : ` at ${where(at.site)}`}, and has not arrived here`
    return {
      class: NAME,
      variant: 'own-process',
      confidence: thread ? 'certain' : 'likely',
      diagnosis: `${subject(facts)} waits at ${awaitedAt(leaf.frame)} for ${signal}: ${why}.`,
      culprit: siteOf(leaf.frame),
      ...(at && !sameLine(at.site, leaf.frame.site) && { holder: siteOf(at) }),
      evidence: [`held by ${held.path}`, ...circumstances(facts)],
      hint: thread
        ? 'run tests that listen for signals with pool: forks'
        : 'check the pid that the signal is sent to, and that the listener is there before',
      stack: userStack(leaf.chain),
    }
  }
  return undefined
}
