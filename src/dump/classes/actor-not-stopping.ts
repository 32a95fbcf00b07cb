import type { ActorFact, TaskFact } from '../../inspect/actors.ts'
import { leavesOf } from '../chains.ts'
import type { HangClass, HangFacts, Verdict } from '../facts.ts'
import { subject } from '../words.ts'
import { circumstances, siteOf, userStack } from './common.ts'

const NAME = 'actor-not-stopping'

/** An actor was asked to end, and has not. */
export const actorNotStopping: HangClass = {
  name: NAME,
  judge(facts) {
    if (facts.loop !== 'idle' || facts.actors === undefined) return undefined
    const actor = below(facts.actors).find(isStuck)
    return actor && verdictOf(facts, actor)
  },
}

/** Is there an actor that was asked to end and has not? */
export function hasStuckActor(root: ActorFact): boolean {
  return below(root).some(isStuck)
}

const isStuck = ({ answered, cancelled, state, tasks }: ActorFact): boolean =>
  (cancelled || state === 'ending') &&
  (!answered || tasks.flatMap(tasksBelow).some(({ state }) => state === 'cancelling'))

function verdictOf(facts: HangFacts, actor: ActorFact): Verdict {
  const task = actor.tasks.flatMap(tasksBelow).find(({ kind, state }) => kind === 'task' && state === 'cancelling')
  const why = task
    ? `its task ${task.name} has not ended${task.wait ? `, and waits for ${task.wait.reason}` : ''}`
    : 'it gave no answer when it was asked what it does: its event loop is blocked'
  const [leaf] = leavesOf(facts)
  const where = actor.threadId === undefined ? `pid ${actor.pid}` : `thread ${actor.threadId}`
  return {
    class: NAME,
    confidence: 'likely',
    diagnosis: `${subject(facts)} waits for the end of actor ${actor.path} (${actor.backend}, ${where}), which was asked to end and does not: ${why}.`,
    ...(leaf && { culprit: siteOf(leaf.frame) }),
    ...(task?.created && { holder: { ...task.created } }),
    evidence: [
      `actor ${actor.path}: ${actor.state ?? 'cancelled'}, ${actor.answered ? 'answered' : 'gave no answer'}`,
      ...circumstances(facts),
    ],
    hint: 'let the task wait with harrow (sleep, park) or with the signal of its scope, so that its cancellation reaches it',
    stack: leaf ? userStack(leaf.chain) : [],
  }
}

function below(actor: ActorFact): ActorFact[] {
  return actor.children.flatMap((child) => [child, ...below(child)])
}

function tasksBelow(task: TaskFact): TaskFact[] {
  return [task, ...task.children.flatMap(tasksBelow)]
}
