import { actorNotStopping } from './classes/actor-not-stopping.ts'
import { actorWaitCycle } from './classes/actor-wait-cycle.ts'
import { awaitWithResource } from './classes/await-with-resource.ts'
import { childProcessStuck } from './classes/child-process-stuck.ts'
import { eventLoopBlocked } from './classes/event-loop-blocked.ts'
import { fakeTimers } from './classes/fake-timers.ts'
import { leakedHandle } from './classes/leaked-handle.ts'
import { lockOrSemaphoreDeadlock } from './classes/lock-or-semaphore-deadlock.ts'
import { lostPromise } from './classes/lost-promise.ts'
import { moduleLoading } from './classes/module-loading.ts'
import { pipeOrBackpressureDeadlock } from './classes/pipe-or-backpressure-deadlock.ts'
import { signalNotDelivered } from './classes/signal-not-delivered.ts'
import { unknown } from './classes/unknown.ts'
import type { HangClass, HangFacts, Verdict } from './facts.ts'

/**
 * The classes in the order in which they are asked; the first verdict counts. The order goes from what rules the others
 * out to what is left over:
 *
 * 1. a thread that does not answer has one cause, whatever else is suspended in it;
 * 2. actors tell themselves what they wait for: a ring of them, or one that does not end;
 * 3. a fake clock explains an await that otherwise looks held by nothing or by a timer;
 * 4. a module that does not load explains its own top-level await;
 * 5. a child, a pipe or a stream that can be seen not to move explains the wait for it: what was sent to a child before
 *    what it stands at, and that before what it merely has not done;
 * 6. a wait for a turn in the program's own queue;
 * 7. a lost promise is seen by the absence of what the next class needs;
 * 8. an await with a holder;
 * 9. after the tests, what they have left open;
 * 10. the rest.
 */
export const HANG_CLASSES: readonly HangClass[] = [
  eventLoopBlocked,
  actorWaitCycle,
  actorNotStopping,
  fakeTimers,
  moduleLoading,
  signalNotDelivered,
  pipeOrBackpressureDeadlock,
  childProcessStuck,
  lockOrSemaphoreDeadlock,
  lostPromise,
  awaitWithResource,
  leakedHandle,
  unknown,
]

/**
 * Names the class of a hang.
 *
 * @param classes the classes to ask, in order
 * @returns the first verdict; for a `guess`, `alsoConsidered` also has the classes after it that fit the same facts
 */
export function classify(facts: HangFacts, classes: readonly HangClass[] = HANG_CLASSES): Verdict {
  for (const [i, one] of classes.entries()) {
    const verdict = one.judge(facts)
    if (verdict === undefined) continue
    if (verdict.confidence !== 'guess') return verdict
    const fitting = classes.slice(i + 1).flatMap((other) => other.judge(facts)?.class ?? [])
    const named = [...(verdict.alsoConsidered ?? []), ...fitting].filter((name) => name !== verdict.class)
    const alternatives = [...new Set(named)].filter((name, _, all) => name !== 'unknown' || all.length === 1)
    return { ...verdict, alsoConsidered: alternatives }
  }
  return unknown.judge(facts) as Verdict
}
