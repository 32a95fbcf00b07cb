/** The await graph of the facts, read from the side of the test or hook that hangs. */
import type { HeldBy } from '../inspect/facts.ts'
import type { AwaitFrame, HangFacts } from './facts.ts'

/** The innermost user function of a chain, with what is below and above it. */
export interface Leaf {
  frame: AwaitFrame
  /** Who holds the promise that the leaf waits for, also when functions of Node or of a package lie between. */
  heldBy: HeldBy[]
  /** Functions below the leaf, none of them the user's. */
  below: AwaitFrame[]
  /** The user's functions from the leaf outwards, the leaf first. */
  chain: AwaitFrame[]
}

/** The suspended user functions of the hung section, in the order of the facts. */
export function ownFrames(facts: HangFacts): AwaitFrame[] {
  const user = (facts.awaits ?? []).filter((frame) => frame.user)
  const own = user.filter((frame) => frame.owner !== null && frame.owner === facts.owner)
  if (own.length > 0 || facts.owner !== null) return own
  // No label is known: before any test exists, everything that is suspended belongs to the file.
  return facts.phase === 'collect' || facts.phase === 'start' ? user : user.filter((frame) => frame.owner === null)
}

/** A longer stack says no more, and a hostile graph must not cost more than its size. */
const MAX_CHAIN = 100
const MAX_BELOW = 1000

/** Leaves of the hung section, the most telling first: exact position before a definition, held before not held. */
export function leavesOf(facts: HangFacts): Leaf[] {
  return leavesAmong(facts.awaits ?? [], ownFrames(facts))
}

/** Leaves of some functions of a graph, in the same order. */
export function leavesAmong(all: readonly AwaitFrame[], own: readonly AwaitFrame[]): Leaf[] {
  const byId = new Map(all.map((frame) => [frame.id, frame]))
  const below = new Map<number, AwaitFrame[]>()
  for (const frame of all) {
    for (const id of frame.awaitedBy) {
      const known = below.get(id)
      if (known === undefined) below.set(id, [frame])
      else known.push(frame)
    }
  }
  const leaves = own.flatMap((frame) => {
    const under = belowLeaf(frame, below)
    return under === undefined ? [] : [leafOf(frame, under, byId)]
  })
  // A cycle has no leaf: each of its members waits for another one.
  const found = leaves.length > 0 ? leaves : own.slice(0, 1).map((frame) => leafOf(frame, [], byId))
  return found.sort((a, b) => score(b) - score(a))
}

function score(leaf: Leaf): number {
  return (leaf.frame.exact ? 2 : 0) + (leaf.heldBy.length > 0 ? 1 : 0)
}

function leafOf(frame: AwaitFrame, below: AwaitFrame[], byId: Map<number, AwaitFrame>): Leaf {
  const heldBy = [...frame.heldBy, ...below.flatMap((one) => one.heldBy)]
  return { frame, heldBy, below, chain: chainOf(frame, byId) }
}

/** What lies below a frame; undefined when the user's code is among it, for then the frame is no leaf. */
function belowLeaf(frame: AwaitFrame, below: Map<number, AwaitFrame[]>): AwaitFrame[] | undefined {
  const seen = new Set([frame.id])
  const found: AwaitFrame[] = []
  const queue = [...(below.get(frame.id) ?? [])]
  for (const one of queue) {
    if (seen.has(one.id)) continue
    if (one.user) return undefined
    seen.add(one.id)
    found.push(one)
    if (found.length >= MAX_BELOW) break
    queue.push(...(below.get(one.id) ?? []))
  }
  return found
}

/** From the frame outwards; where several wait for one, a user function of the same section is followed. */
function chainOf(frame: AwaitFrame, byId: Map<number, AwaitFrame>): AwaitFrame[] {
  const chain: AwaitFrame[] = []
  const seen = new Set<number>()
  let here: AwaitFrame | undefined = frame
  while (here !== undefined && !seen.has(here.id) && seen.size < MAX_CHAIN) {
    seen.add(here.id)
    if (here.user) chain.push(here)
    const above: AwaitFrame[] = here.awaitedBy.flatMap((id) => byId.get(id) ?? []).filter((one) => !seen.has(one.id))
    here = above.find((one) => one.owner === frame.owner && one.user) ?? above.find((one) => one.user) ?? above[0]
  }
  return chain
}
