/** Whether a run of what hung, with promises traced, may tell more than the look at it did. */
import { hasStuckActor } from '../../src/dump/classes/actor-not-stopping.ts'
import { hasActorRing } from '../../src/dump/classes/actor-wait-cycle.ts'
import { isOfMocks, isOfTheRunner, isWaitingLine } from '../../src/dump/waiting-line.ts'
import type { HeldBy } from '../../src/inspect/facts.ts'
import { taskById } from '../compat.ts'
import { testSource } from '../test-source.ts'
import { type Evidence, ownerOf } from './evidence.ts'

/** May a run of the test alone, with promises traced, tell more? Not where the actors of its tree have said all there is to say. */
export function isWorthTracing(evidence: Evidence): boolean {
  const actors = evidence.self?.actors
  if (actors && (hasActorRing(actors) || hasStuckActor(actors))) return false
  return isAbsent(evidence) || isQueued(evidence) || isMocking(evidence)
}

/** An import waits for the factory of a mock, of which no suspended function is left. */
function isMocking(evidence: Evidence): boolean {
  const suspended = evidence.self?.async?.suspended ?? []
  const held = suspended.filter((f) => f.owner === ownerOf(evidence)).flatMap((f) => f.heldBy)
  return evidence.loop === 'idle' && evidence.phase === 'collect' && held.some(isOfMocks)
}

/**
 * The absence rule: the worker is idle and no suspended function of the user's belongs to what hangs. A second run with
 * promises traced may then prove the loss, or of a test function that is not async show what it returned.
 */
function isAbsent(evidence: Evidence): boolean {
  const suspended = evidence.self?.async?.suspended
  if (evidence.loop !== 'idle' || !suspended) return false
  if (evidence.phase === 'start' || evidence.phase === 'after-tests') return false
  const owner = ownerOf(evidence)
  const own = suspended.filter((f) => f.owner === owner)
  if (owner === null || own.some((f) => f.user)) return false
  const task = evidence.test === null ? undefined : taskById(evidence.context.project.vitest, evidence.test)
  const isPlain = evidence.phase === 'test' && task && testSource(task.file.filepath, task.name)?.body === 'plain'
  // Of what a plain function returned it is known who holds it, if anybody does.
  return !isPlain || own.every((f) => f.heldBy.every(isOfTheRunner))
}

/**
 * Does what hangs wait in somebody's queue? Nothing of the system holds the promise, only a collection or a field of the
 * program. A second run with promises traced may then tell who is served and does not make room.
 */
export function isQueued(evidence: Evidence): boolean {
  const suspended = evidence.self?.async?.suspended
  const owner = ownerOf(evidence)
  if (evidence.loop !== 'idle' || !suspended || owner === null) return false
  if (evidence.phase === 'start' || evidence.phase === 'collect' || evidence.phase === 'after-tests') return false
  const own = suspended.filter((f) => f.owner === owner)
  // Without a snapshot nobody knows who holds it: the second run is the only way to tell.
  if (evidence.self?.async?.nodes === 0) return own.some((f) => f.user)
  const leaves = own.filter((f) => f.heldBy.length > 0)
  return leaves.some(
    ({ heldBy }) =>
      heldBy.some(isWaitingLine) && heldBy.every((held) => isWaitingLine(held) || isDeadline(evidence, held)),
  )
}

/** A timer of one shot that is further away than the limit: it ends the wait in a queue with an error, and is not waited for. */
function isDeadline({ self, limitMs }: Evidence, { id }: HeldBy): boolean {
  const timer = self?.wait?.objects.find((object) => object.id === id)?.timer
  return timer !== undefined && !timer.repeats && timer.ms > limitMs
}
