import { awaitedAt } from '../awaited.ts'
import { type Leaf, leavesOf, ownFrames } from '../chains.ts'
import type { Frame, HangClass, HangFacts, LockWaitFrames, Verdict } from '../facts.ts'
import { count, sameLine, subject, where } from '../words.ts'
import { circumstances, inFunction, named, siteOf, userStack } from './common.ts'

const NAME = 'lock-or-semaphore-deadlock'
const PHASES = new Set(['test', 'hook', 'teardown'])

/**
 * A wait for a lock, semaphore, pool or limiter whose present owner does not give it back. That it is a lock and who
 * has it is known from the run with promises traced: the code queues its callers, some calls got through, and what was
 * taken was not returned.
 */
export const lockOrSemaphoreDeadlock: HangClass = {
  name: NAME,
  judge(facts) {
    const { locks } = facts
    if (facts.loop !== 'idle' || !PHASES.has(facts.phase) || locks === undefined) return undefined
    const leaves = ownFrames(facts).length > 0 ? leavesOf(facts) : []
    const wait = choose(locks.waits, leaves)
    if (wait === undefined || heldUp(wait, locks.waits, leaves)) return undefined
    // The run again stands where the hung one stands: it is the same ring.
    return verdictOf(
      facts,
      wait,
      leaves.some((leaf) => standsAt(wait, leaf)),
    )
  },
}

/** The wait that the heap of the hung run knows as well; without suspended functions in it, the newest one. */
function choose(waits: readonly LockWaitFrames[], leaves: readonly Leaf[]): LockWaitFrames | undefined {
  if (leaves.length === 0) return waits[0]
  for (const leaf of leaves) {
    const found = waits.find((wait) => standsAt(wait, leaf))
    if (found !== undefined) return found
  }
  // The line of an `await` may not be known: then only its function is compared.
  return leaves.some(({ frame }) => !frame.exact)
    ? waits.find((wait) => leaves.some(({ frame }) => frame.fn === (wait.inner[0] ?? wait.call).fn))
    : undefined
}

function standsAt(wait: LockWaitFrames, leaf: Leaf): boolean {
  return [...wait.inner, wait.call, ...(wait.deep ? wait.outer.slice(0, 1) : [])].some((frame) =>
    sameLine(frame.site, leaf.frame.site),
  )
}

/** Does the holder stand at an `await` that has nothing to do with locks? Then that one is to blame, and this follows. */
function heldUp(wait: LockWaitFrames, waits: readonly LockWaitFrames[], leaves: readonly Leaf[]): boolean {
  const [holder] = wait.holders
  if (holder === undefined || holder.by !== 'left') return false
  return leaves.some(
    (leaf) =>
      !waits.some((one) => standsAt(one, leaf)) &&
      leaf.chain.some((frame) => frame.fn === holder.taken.fn && frame.site.path === holder.taken.site.path),
  )
}

function verdictOf(facts: HangFacts, wait: LockWaitFrames, seen: boolean): Verdict | undefined {
  const [holder, ...more] = wait.holders
  if (holder === undefined) return undefined
  const proven = facts.lost?.proven === true && facts.awaits !== null
  const ring = holder.by !== 'left'
  return {
    class: NAME,
    confidence: (proven || seen) && ring ? 'certain' : 'likely',
    diagnosis: `${subject(facts)} waits at ${awaitedAt(wait.call)}${inFunction(wait.call)} for its turn in ${calledAs(wait)}: ${held(wait)}.`,
    culprit: siteOf(wait.call),
    holder: siteOf(holder.taken),
    ...(ring && { cycles: [ringOf(wait, facts.locks?.waits ?? [])] }),
    evidence: [
      `taken by ${named(holder.taken)}${holder.missing > 1 ? `, ${count(holder.missing, 'time')} without giving it back` : ''}`,
      ...more.slice(0, 3).map(({ taken }) => `also taken by ${named(taken)}`),
      ...wait.inner.slice(0, 2).map((frame) => `inside it the caller stands at ${awaitedAt(frame)}`),
      ...wait.outer.slice(0, 4).map((frame) => `awaited by ${named(frame)}`),
      ...(proven ? ['in a second run with promises traced, the awaited promise was collected while pending'] : []),
      ...circumstances(facts),
    ],
    hint: ring
      ? 'take locks in one order everywhere, and never ask for one again while holding it'
      : 'give it back in a finally block, on every path',
    stack: userStack([...wait.inner, wait.call, ...wait.outer].filter(onlyOnce)),
  }
}

/** `Pool.connect()`, `limit()`. */
function calledAs({ lock, method }: LockWaitFrames): string {
  if (method === '') return lock === '' ? 'the lock' : lock
  return /^[A-Z]/.test(lock) ? `${lock}.${method}()` : `${method}()`
}

const MOST_MEMBERS = 8

/** The waits of a ring, as far as the names of their functions lead back. */
function ringOf(first: LockWaitFrames, waits: readonly LockWaitFrames[]): string[] {
  const ring = [first]
  for (let at = first; ring.length < MOST_MEMBERS; ) {
    const holder = at.holders[0]
    if (holder?.by !== 'waits') break
    const next = waits.find(
      (one) => !ring.includes(one) && [one.call, ...one.outer].some((frame) => isSame(frame, holder.taken)),
    )
    if (next === undefined) break
    ring.push(next)
    at = next
  }
  return ring.map((wait) => {
    const { taken } = wait.holders[0] as LockWaitFrames['holders'][number]
    return `${named(wait.call)} waits for its turn in ${calledAs(wait)}, which was taken by ${named(taken)}`
  })
}

function isSame(a: Frame, b: Frame): boolean {
  return a.fn === b.fn && a.site.path === b.site.path
}

function held(wait: LockWaitFrames): string {
  const holder = wait.holders[0] as LockWaitFrames['holders'][number]
  const named = !/^<|^$/.test(holder.taken.fn)
  const taker = named ? `${holder.taken.fn}()` : 'the code'
  const earlier = named ? `an earlier call of ${taker}` : 'the same line before'
  const at = where(holder.taken.site)
  if (sameLine(holder.taken.site, wait.call.site) && holder.by !== 'left') {
    return `every place is taken by callers that got it at the same line (${at}) and wait there for it once more (cycle)`
  }
  switch (holder.by) {
    case 'flow':
      return `it was taken at ${at} by ${taker}, further out in the same chain of awaits, which gives it back only after this await (cycle)`
    case 'waits':
      return `it is held by ${holder.taken.fn === wait.call.fn && taker !== 'the code' ? `another ${taker}` : taker} that took it at ${at} and itself waits for a lock held here (cycle)`
    case 'left':
      return `it was taken at ${at} by ${sameLine(holder.taken.site, wait.call.site) ? earlier : taker} and has not been given back${holder.missing > 1 ? ` (${count(holder.missing, 'time')})` : ''}`
  }
}

function onlyOnce(frame: Frame, index: number, all: readonly Frame[]): boolean {
  return all.findIndex((one) => sameLine(one.site, frame.site)) === index
}
