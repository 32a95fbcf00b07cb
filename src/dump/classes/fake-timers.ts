import type { HeldBy } from '../../inspect/facts.ts'
import { awaitedAt, statement } from '../awaited.ts'
import { type Leaf, leavesOf } from '../chains.ts'
import type { HangClass, HangFacts, Verdict } from '../facts.ts'
import { bestHolder } from '../holders.ts'
import { count, oneLine, sameLine, subject, where } from '../words.ts'
import { circumstances, firstUser, siteOf, userStack } from './common.ts'

/** A wait for a timer of a fake clock that nobody advances. */
export const fakeTimers: HangClass = {
  name: 'fake-timers',
  judge(facts) {
    const clock = facts.fakeTimers
    if (facts.loop !== 'idle') return undefined
    const leaves = leavesOf(facts)
    const onClock = leaves.find((leaf) => leaf.heldBy.some((held) => held.fakeClock === true))
    if (clock === null || !clock.on) return onClock && onOtherClock(facts, onClock)
    const leaf = onClock ?? leaves[0]
    if (leaf === undefined) return undefined
    if (onClock === undefined) {
      // A pending fake timer alone proves little: the await must have nobody else that could end it.
      if (clock.pending === 0 || facts.phase === 'collect' || bestHolder(leaf.heldBy)?.live === true) return undefined
    }
    const installed = firstUser(clock.installed)
    const culprit = siteOf(leaf.frame)
    const held = onClock?.heldBy.find((one) => one.fakeClock === true)
    const pending = count(clock.pending, 'fake timer')
    const where_ = installed === undefined ? '' : ` at ${where(installed.site)}`
    return {
      class: 'fake-timers',
      confidence: onClock === undefined ? 'likely' : 'certain',
      diagnosis: `${subject(facts)} waits at ${awaitedAt(leaf.frame)} for a fake setTimeout: vi.useFakeTimers() was called${where_}, and nobody advances the clock (${pending} pending).`,
      culprit,
      ...(installed && !sameLine(installed.site, culprit) && { holder: siteOf(installed) }),
      evidence: [
        `fake timers are on, ${pending} pending`,
        held === undefined
          ? 'nothing else was found that could end this await'
          : `the awaited promise is held by the fake clock (${held.path})`,
        ...circumstances(facts),
      ],
      hint: 'advance the clock (await vi.advanceTimersByTimeAsync(ms)), or fake only what the test needs (vi.useFakeTimers({ toFake: [...] }))',
      stack: userStack(leaf.chain),
    }
  },
}

/** The clock is not the runner's: that of node:test, one of a package, or one of the program's own. */
function onOtherClock(facts: HangFacts, leaf: Leaf): Verdict {
  const culprit = siteOf(leaf.frame)
  const held = leaf.heldBy.find((one) => one.fakeClock === true) as HeldBy
  // The nearest above the await in the same file, else the first that is known.
  const calls = facts.clocks ?? []
  const installed = calls.findLast(({ site }) => site.path === culprit.path && site.line < culprit.line) ?? calls[0]
  const how =
    installed === undefined ? '' : `: ${statement(installed)} at ${where(installed.site)} put it in the place of Node's`
  return {
    class: 'fake-timers',
    variant: 'other-clock',
    confidence: 'likely',
    diagnosis: `${subject(facts)} waits at ${awaitedAt(leaf.frame)} for a timer (setTimeout and its like) of a clock that only moves when somebody moves it${how}, and nobody does.`,
    culprit,
    ...(installed && !sameLine(installed.site, culprit) && { holder: siteOf(installed) }),
    evidence: [
      `the awaited promise is held by ${oneLine(held.path, 160)}, a part of that clock`,
      ...circumstances(facts),
    ],
    hint: 'advance that clock, put the real timers back before the wait, or replace only what the test needs',
    stack: userStack(leaf.chain),
  }
}
