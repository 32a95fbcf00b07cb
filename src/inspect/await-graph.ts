/** The suspended async functions of a heap and who of them waits for whom. */
import { findAwaiters } from './heap/awaiters.ts'
import { findGenerators, type HeapGenerator, registersOf } from './heap/generators.ts'
import { code, type HeapGraph } from './heap/graph.ts'
import { findHolders } from './heap/holders.ts'

/** Tells marker functions apart: a marker is an async function that awaits the body of one test or hook. */
export interface OwnerRule {
  /** Is this the script that defines the marker? */
  script: (url: string) => boolean
  /** Name of the marker function. Its label is the string argument that starts with `harrow:`. */
  fn: string
  /**
   * Scripts of a runner that waits for nothing but sections. A look without a snapshot, which does not see every link between
   * a marker and its body, takes what they wait for as the section's.
   */
  runner?: (url: string) => boolean
}

const LABEL_PREFIX = 'harrow:'
const CONTEXT = code('context')
const MAX_HOPS = 10_000

/** A suspended function with its place in the await graph. */
export interface Entry {
  generator: HeapGenerator
  user: boolean
  label: string | null
  awaiters: Entry[]
  below: Entry[]
  owner: string | null
  /** No user's function stands below it; worked out when asked for. */
  leaf?: boolean
}

interface GraphOptions {
  ownerRule?: OwnerRule
  /** Label whose functions are looked at first. */
  preferOwner?: string
}

/** @param isUser which scripts are the user's */
export function readEntries(
  heap: HeapGraph,
  isUser: (url: string) => boolean,
  { ownerRule: rule, preferOwner }: GraphOptions,
): Entry[] {
  const byNode = new Map<number, Entry>()
  for (const generator of findGenerators(heap)) {
    const marker = rule !== undefined && generator.fn === rule.fn && rule.script(generator.script)
    const label = marker ? readLabel(heap, generator) : null
    const user = !marker && isUser(generator.script)
    byNode.set(generator.node, { generator, user, label, awaiters: [], below: [], owner: null })
  }
  for (const entry of byNode.values()) {
    const { node, results } = entry.generator
    for (const awaiter of findAwaiters(heap, results, byNode, node)) {
      const other = byNode.get(awaiter)!
      entry.awaiters.push(other)
      other.below.push(entry)
    }
    entry.awaiters.sort((a, b) => a.generator.id - b.generator.id)
  }
  const entries = [...byNode.values()]
  for (const entry of entries) entry.owner = nearestLabel(entry)
  linkSettlers(heap, byNode, preferOwner)
  return entries
}

/** What waits beside the promise of each section: its limit, and variables of the runner's. */
const OF_THE_RUNNER = /^(?:Timeout|TaskDeadline|AbortSignal|variable)$/
/** Keeps the promises of factories of mocks that run, which it does not settle itself. */
const OF_MOCKS = /^VitestMocker$/

/** Of so many functions of a section it is looked whether they stand lowest, and for so many of these who could settle them. */
const MOST_LOOKED_AT = 500
const MOST_LINKED = 60

/**
 * A leaf that nothing holds may wait for a function that is suspended itself and has the resolve function in its hands: that
 * of a queue which runs one job after the other, or a fixture below a test that is not async. That function stands below it.
 */
function linkSettlers(heap: HeapGraph, byNode: ReadonlyMap<number, Entry>, preferOwner: string | undefined): void {
  const owned = [...byNode.values()].filter(({ owner }) => owner !== null)
  const isWanted = (entry: Entry): boolean => entry.owner === preferOwner
  const first = [...owned.filter(isWanted), ...owned.filter((entry) => !isWanted(entry))].slice(0, MOST_LOOKED_AT)
  for (const leaf of first.filter(isLowest).slice(0, MOST_LINKED)) {
    const suspended = new Set<number>()
    const held = findHolders(heap, awaitedBelow(leaf), undefined, suspended)
    const none = leaf.user ? OF_MOCKS : OF_THE_RUNNER
    if (held.some(({ owner }) => !none.test(owner))) continue
    const chain = reach([leaf], 'awaiters').add(leaf)
    const settlers = [...suspended].flatMap((node) => byNode.get(node) ?? [])
    for (const settler of settlers) {
      if (chain.has(settler) || settler.owner !== null || !hasUser(settler)) continue
      settler.awaiters.push(leaf)
      leaf.below.push(settler)
      for (const entry of [settler, ...reach([settler], 'below')]) entry.owner ??= leaf.owner
    }
  }
}

function hasUser(entry: Entry): boolean {
  return entry.user || [...reach([entry], 'below')].some(({ user }) => user)
}

function readLabel(heap: HeapGraph, generator: HeapGenerator): string | null {
  for (const holder of [registersOf(heap, generator.node), heap.internal(generator.node, CONTEXT)]) {
    if (holder < 0) continue
    const end = heap.endEdge(holder)
    for (let edge = heap.firstEdge(holder); edge < end; edge++) {
      const value = heap.target(edge)
      if (!heap.type(value).endsWith('string')) continue
      const text = heap.flat(value)
      if (text.startsWith(LABEL_PREFIX)) return text
    }
  }
  return null
}

function nearestLabel(entry: Entry): string | null {
  const seen = new Set([entry])
  for (const at of seen) {
    if (at.label !== null) return at.label
    if (seen.size < MAX_HOPS) for (const awaiter of at.awaiters) seen.add(awaiter)
  }
  return null
}

/** Everything that `from` reaches along `awaiters` or `below`, without `from` itself. */
export function reach(from: readonly Entry[], direction: 'awaiters' | 'below'): Set<Entry> {
  const reached = new Set<Entry>()
  const queue = [...from]
  while (queue.length > 0) {
    for (const entry of queue.pop()![direction]) {
      if (reached.has(entry)) continue
      reached.add(entry)
      queue.push(entry)
    }
  }
  return reached
}

/** For a graph that is complete: the answer is kept. */
export function isLeaf(entry: Entry): boolean {
  entry.leaf ??= isLowest(entry)
  return entry.leaf
}

function isLowest(entry: Entry): boolean {
  return (
    (entry.user || entry.label !== null) && ![...reach([entry], 'below')].some((below) => below.user && below !== entry)
  )
}

export function lowestBelow(leaf: Entry): Entry[] {
  return [...reach([leaf], 'below'), leaf].filter((entry) => entry.below.length === 0)
}

/** What a leaf waits for in the end, by way of functions of packages. */
export function awaitedBelow(leaf: Entry): number[] {
  const lowest = lowestBelow(leaf)
  return (lowest.length > 0 ? lowest : [leaf]).flatMap((entry) => entry.generator.awaits)
}
