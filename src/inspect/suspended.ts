import { type AsyncStack, type AsyncStackFrame, asyncStacks } from './async-stacks.ts'
import { awaitedBelow, type Entry, isLeaf, lowestBelow, type OwnerRule, reach, readEntries } from './await-graph.ts'
import type { InspectorCall } from './drive.ts'
import type { AsyncFacts, HeldBy, Position, SuspendedFunction } from './facts.ts'
import type { HeapGraph } from './heap/graph.ts'
import { findHolders, isProgramsOwn } from './heap/holders.ts'
import { type Redact, releaseObjects, resolveFrame } from './heap/resolve.ts'
import { drivenBy } from './heap/scheduled.ts'
import { isUserScript } from './user-script.ts'

export interface InspectOptions {
  /** Is a script the user's? Default: {@link isUserScript}. */
  isUser?: (url: string) => boolean
  ownerRule?: OwnerRule
  /** Label whose frames are resolved first. */
  preferOwner?: string
  /** Heap ids seen in earlier dumps, left by earlier tests: resolved last. */
  known?: ReadonlySet<number>
  /** Time for resolving positions, milliseconds. Default 1000. */
  budgetMs?: number
  /** Most functions to resolve. Default 12. */
  maxResolve?: number
  /** For how many of them to read the locals. Default 6. */
  localsFor?: number
  /** Look for all positions by the stacks of their promises; false for a caller who has them. Default true. */
  stacks?: boolean
  /** Gets name and rendered value of each local; what it returns is kept. */
  redact?: Redact
}

const MAX_LISTED = 500
const MAX_LEAVES = 60
/** For so many leaves the texts of what is scheduled are read. */
const MOST_DRIVEN = 3

// Kept at import: a test may replace the clock of the thread that is looked at.
const now = performance.now.bind(performance)

/**
 * The suspended async functions of an idle thread, from its heap snapshot. The algorithm asks for inspector calls by
 * yielding them, so that one text serves the sick thread itself (`driveSync`) and a connection (`driveAsync`); a call
 * that fails leaves a note and the walk goes on.
 *
 * @param heap snapshot of the thread that the calls go to
 */
export function* inspectSuspended(
  heap: HeapGraph,
  options: InspectOptions = {},
): Generator<InspectorCall, AsyncFacts, unknown> {
  const began = now()
  const notes: string[] = []
  const isUser = options.isUser ?? isUserScript
  const entries = readEntries(heap, isUser, options)
  const listed = choose(entries, options, notes)
  const ids = new Set(listed.map((entry) => entry.generator.id))
  const facts = new Map<Entry, SuspendedFunction>()
  const ways = new Map<Entry, Set<number>>()
  let leaves = 0
  for (const entry of listed) {
    const { generator } = entry
    let heldBy: HeldBy[] = []
    if (isLeaf(entry)) {
      if (++leaves <= MAX_LEAVES) {
        const between = new Set<number>()
        heldBy = holdersOf(heap, entry, between)
        ways.set(entry, between)
      }
      if (leaves === MAX_LEAVES + 1) notes.push(`who holds what is awaited: only for the first ${MAX_LEAVES} leaves`)
    }
    facts.set(entry, {
      id: generator.id,
      fn: generator.fn,
      script: generator.script,
      user: entry.user,
      definedAt: generator.definedAt && {
        url: generator.script,
        line: generator.definedAt.line + 1,
        column: generator.definedAt.column + 1,
      },
      at: null,
      awaitedBy: entry.awaiters.map((awaiter) => awaiter.generator.id).filter((id) => ids.has(id)),
      owner: entry.owner,
      heldBy,
    })
  }
  yield* resolvePositions(heap, listed, facts, options, notes)
  yield* findDrivers(heap, ways, facts, options)
  return { suspended: [...facts.values()], nodes: heap.nodeCount, tookMs: now() - began, notes }
}

/** The entries to list: the owner's first, then users', then those between or below; each by heap id. */
function choose(entries: readonly Entry[], options: InspectOptions, notes: string[]): Entry[] {
  const users = entries.filter((entry) => entry.user)
  const belowUsers = reach(users, 'below')
  const aboveUsers = reach(users, 'awaiters')
  const markers = entries.filter((entry) => entry.label !== null)
  const belowMarkers = reach(markers, 'below')
  const chosen = entries.filter((entry) => {
    if (entry.user || belowUsers.has(entry)) return true
    // A marker without a user's function below it stands for a test that returned a promise of its own making.
    if (entry.label !== null) return !aboveUsers.has(entry)
    return belowMarkers.has(entry)
  })
  const preferred = (entry: Entry): number =>
    options.preferOwner !== undefined && entry.owner === options.preferOwner ? 0 : 1
  chosen.sort(
    (a, b) => Number(b.user) - Number(a.user) || preferred(a) - preferred(b) || a.generator.id - b.generator.id,
  )
  if (chosen.length > MAX_LISTED) {
    notes.push(`${chosen.length - MAX_LISTED} of ${chosen.length} suspended functions are left out`)
    chosen.length = MAX_LISTED
  }
  return chosen
}

/** Where only the program itself holds what is awaited: is there something scheduled whose code leads to it? */
function* findDrivers(
  heap: HeapGraph,
  ways: ReadonlyMap<Entry, ReadonlySet<number>>,
  facts: ReadonlyMap<Entry, SuspendedFunction>,
  { isUser = isUserScript, preferOwner }: InspectOptions,
): Generator<InspectorCall, void, unknown> {
  let left = MOST_DRIVEN
  for (const [leaf, between] of ways) {
    if (preferOwner !== undefined && leaf.owner !== preferOwner) continue
    const fact = facts.get(leaf)!
    if (!leaf.user || fact.heldBy.length === 0 || !fact.heldBy.every(isProgramsOwn)) continue
    // Its place in a queue: who takes the next one out of that names the queue, and much that names it does not.
    if (fact.heldBy.some(({ path }) => /\[\d+\]$/.test(path)) || left-- <= 0) continue
    const chain = reach([leaf], 'awaiters').add(leaf)
    const running = [...ways.keys()]
      .filter((one) => !chain.has(one) && !facts.get(one)!.heldBy.every(isProgramsOwn))
      .flatMap((one) => {
        const heldBy = facts.get(one)!.heldBy.filter((held) => !isProgramsOwn(held))
        return [one, ...reach([one], 'awaiters')]
          .filter(({ user }) => user)
          .map(({ generator }) => ({ generator: generator.node, heldBy }))
      })
    fact.heldBy.push(...(yield* drivenBy(heap, leaf.generator.node, between, running, isUser)))
  }
}

function holdersOf(heap: HeapGraph, leaf: Entry, ways: Set<number>): HeldBy[] {
  const lowest = lowestBelow(leaf)
  const held = findHolders(heap, awaitedBelow(leaf), ways)
  const loading = lowest.some((entry) => /^node:internal\/modules\//.test(entry.generator.script))
  if (loading && held.length === 0) return [{ owner: 'module loader', path: 'module loader' }]
  return held
}

/** Most valuable first: leaves of the wanted owner, then those who wait for them, then others, then what is known. */
function resolveOrder(listed: readonly Entry[], options: InspectOptions): Entry[] {
  const users = listed.filter((entry) => entry.user)
  const fresh = users.filter((entry) => !options.known?.has(entry.generator.id))
  const isWanted = (entry: Entry): boolean => options.preferOwner === undefined || entry.owner === options.preferOwner
  const order = new Set<Entry>()
  for (const entry of users.filter(isWanted)) if (fresh.includes(entry) && isLeaf(entry)) order.add(entry)
  // A set takes in what is added while it is walked, so this goes upwards level by level.
  for (const entry of order) for (const awaiter of entry.awaiters) if (awaiter.user) order.add(awaiter)
  for (const group of [fresh.filter(isWanted), fresh.filter(isLeaf), fresh, users]) {
    for (const entry of group) order.add(entry)
  }
  return [...order]
}

/**
 * Positions of all of them by the stacks of the promises that they await; then, one walk over the heap each, the locals of
 * the first and the positions of those whose promise several wait for.
 */
function* resolvePositions(
  heap: HeapGraph,
  listed: readonly Entry[],
  facts: ReadonlyMap<Entry, SuspendedFunction>,
  options: InspectOptions,
  notes: string[],
): Generator<InspectorCall, void, unknown> {
  const { budgetMs = 1000, maxResolve = 12, localsFor = 6 } = options
  const order = resolveOrder(listed, options).filter((entry) => facts.has(entry))
  if (order.length === 0) return
  const places = options.stacks === false ? [] : yield* placesOf(heap, listed, notes)
  for (const [entry, { at, members }] of places) {
    const fact = facts.get(entry)!
    fact.at ??= at
    if (members) fact.members = members
  }
  const began = now()
  let slowest = 0
  let tried = 0
  for (const [place, entry] of order.entries()) {
    const fact = facts.get(entry)!
    const withLocals = place < localsFor
    if (fact.at !== null && !withLocals) continue
    const started = now()
    // One look-up walks the whole heap, so the next one will take about as long as the last.
    if (tried >= maxResolve || (tried > 0 && started - began + slowest > budgetMs)) break
    tried++
    try {
      const frame = yield* resolveFrame(fact.id, fact.script, withLocals, options.redact)
      fact.at ??= frame.at
      if (frame.locals) fact.locals = frame.locals
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const what = fact.at === null ? 'exact line' : 'locals'
      notes.push(`no ${what} for ${fact.fn || 'an anonymous function'} (${fact.script}): ${why}`)
    }
    slowest = Math.max(slowest, now() - started)
  }
  if (tried > 0) yield* releaseObjects()
  const left = order.filter((entry) => facts.get(entry)!.at === null).length
  if (left > 0)
    notes.push(
      `${left} of ${order.length} suspended functions without exact line (limit of ${tried >= maxResolve ? `${maxResolve} functions` : `${budgetMs} ms`})`,
    )
}

interface Place {
  at: Position
  members?: NonNullable<SuspendedFunction['members']>
}

const placeKey = ({ url, line, column }: Position): string => `${url}:${line}:${column}`

/**
 * Which members of `Promise.all` and its like are pending, by the place of the `await` that waits for them: V8 writes their
 * index into the stack. Several functions at the same `await` share their numbers.
 */
function pendingMembers(stacks: readonly AsyncStack[]): Map<string, NonNullable<SuspendedFunction['members']>> {
  const found = new Map<string, { of: string; pending: Set<number> }>()
  for (const { frames } of stacks) {
    for (const [place, { fn, at, index }] of frames.entries()) {
      const waiter = frames[place + 1]?.at
      if (at !== null || index === undefined || waiter == null) continue
      const known = found.get(placeKey(waiter))
      if (known === undefined) found.set(placeKey(waiter), { of: fn, pending: new Set([index]) })
      else known.pending.add(index)
    }
  }
  return new Map([...found].map(([key, { of, pending }]) => [key, { of, pending: [...pending].sort((a, b) => a - b) }]))
}

/** Where each function stands, as far as V8 finds it from the promise that it awaits. */
function* placesOf(
  heap: HeapGraph,
  listed: readonly Entry[],
  notes: string[],
): Generator<InspectorCall, Map<Entry, Place>, unknown> {
  const places = new Map<Entry, Place>()
  try {
    const nearest = new Map<number, AsyncStackFrame>()
    const found = yield* asyncStacks({ ids: true })
    for (const { promise, frames } of found.stacks) if (frames[0]) nearest.set(promise, frames[0])
    const members = pendingMembers(found.stacks)
    for (const entry of listed) {
      for (const node of entry.generator.awaits) {
        const at = nearest.get(heap.id(node))?.at
        if (!at) continue
        const waitsFor = members.get(placeKey(at))
        places.set(entry, {
          at: { ...at, url: entry.generator.script || at.url },
          ...(waitsFor && { members: waitsFor }),
        })
      }
    }
    notes.push(...found.notes)
  } catch (error) {
    notes.push(`positions are looked up one by one: ${error instanceof Error ? error.message : String(error)}`)
  }
  return places
}
