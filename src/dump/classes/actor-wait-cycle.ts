import type { ActorFact, TaskFact } from '../../inspect/actors.ts'
import { awaitedAt } from '../awaited.ts'
import { leavesOf } from '../chains.ts'
import type { HangClass, HangFacts, Verdict } from '../facts.ts'
import { seconds, subject } from '../words.ts'
import { circumstances, siteOf, userStack } from './common.ts'

const NAME = 'actor-wait-cycle'

/** Waits that another actor ends. */
const REASONS = new Set(['call reply', 'context result', 'stream item', 'stream space'])
const MOST_STEPS = 32

/** A wait of one actor for another. */
interface Edge {
  from: ActorFact
  to: ActorFact
  task: TaskFact
}

/** Actors that wait for each other in a ring. */
export const actorWaitCycle: HangClass = {
  name: NAME,
  judge(facts) {
    if (facts.loop !== 'idle' || facts.actors === undefined) return undefined
    const cycle = findCycle(edgesOf(facts.actors))
    return cycle && verdictOf(facts, cycle)
  },
}

/** Do actors of the tree wait for each other in a ring? */
export function hasActorRing(root: ActorFact): boolean {
  return findCycle(edgesOf(root)) !== undefined
}

/** Every actor, with what its tasks wait for of others. A name that two actors have says too little. */
function edgesOf(root: ActorFact): Edge[] {
  const actors = flatten(root)
  const named = (name: string): ActorFact | undefined => {
    const found = actors.filter((actor) => actor.name === name)
    return found.length === 1 ? found[0] : undefined
  }
  return actors.flatMap((from) =>
    from.tasks.flatMap(tasksBelow).flatMap((task) => {
      const { wait } = task
      const to = wait?.by && REASONS.has(wait.reason) ? named(wait.by) : undefined
      return to && to !== from ? [{ from, to, task }] : []
    }),
  )
}

/**
 * Edges that lead back to where they began, each one from a task that serves what the edge before it waits for: an actor may
 * do many things at once, and only that task keeps the one before waiting.
 */
function findCycle(edges: readonly Edge[]): Edge[] | undefined {
  const follows = (one: Edge, next: Edge): boolean =>
    next.from === one.to && (next.task.name === served(one) || next.from.path === 'root')
  for (const first of edges) {
    const path = [first]
    const seen = new Set([first])
    for (let step = 0; step < MOST_STEPS; step++) {
      const last = path.at(-1) as Edge
      if (last.to === first.from) return path
      const next = edges.find((edge) => !seen.has(edge) && follows(last, edge))
      if (!next) break
      seen.add(next)
      path.push(next)
    }
  }
  return undefined
}

/** Name of the endpoint that a wait is for: `flush`, also of `context tally.flush`. */
function served({ task }: Edge): string {
  const on = task.wait?.on ?? ''
  return on.slice(on.lastIndexOf('.') + 1)
}

function verdictOf(facts: HangFacts, cycle: Edge[]): Verdict {
  const step = ({ from, to, task }: Edge): string =>
    `${from.name} waits ${seconds(task.wait?.sinceMs ?? 0, 1)} for ${task.wait?.reason} of ${to.name}${task.wait?.on ? ` (${task.wait.on})` : ''}`
  const [leaf] = leavesOf(facts)
  const calls = cycle.every(({ task }) => task.wait?.reason === 'call reply')
  const at = leaf ? ` at ${awaitedAt(leaf.frame)}` : ''
  return {
    class: NAME,
    confidence: calls ? 'certain' : 'likely',
    diagnosis: `${subject(facts)} waits${at}, and the actors wait for each other: ${cycle.map(step).join('; ')}.`,
    ...(leaf && { culprit: siteOf(leaf.frame) }),
    ...(cycle[1]?.task.created && { holder: { ...cycle[1].task.created } }),
    evidence: [...cycle.map(step), ...circumstances(facts)],
    hint: 'let one of them not wait: send what the other waits for before, or call from a task of its own',
    stack: leaf ? userStack(leaf.chain) : [],
  }
}

function flatten(actor: ActorFact): ActorFact[] {
  return [actor, ...actor.children.flatMap(flatten)]
}

function tasksBelow(task: TaskFact): TaskFact[] {
  return [task, ...task.children.flatMap(tasksBelow)]
}
