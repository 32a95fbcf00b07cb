import { awaitedAt } from '../awaited.ts'
import { leavesOf } from '../chains.ts'
import type { HangClass } from '../facts.ts'
import { bestHolder } from '../holders.ts'
import { count, sameLine, subject, where } from '../words.ts'
import { circumstances, firstUser, siteOf, userStack } from './common.ts'

/** A wait for a timer of a fake clock that nobody advances. */
export const fakeTimers: HangClass = {
  name: 'fake-timers',
  judge(facts) {
    const clock = facts.fakeTimers
    if (facts.loop !== 'idle' || clock === null || !clock.on) return undefined
    const leaves = leavesOf(facts)
    const onClock = leaves.find((leaf) => leaf.heldBy.some((held) => held.fakeClock === true))
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
