import type { LostPromise } from './facts.ts'
import type { AwaitRecord, PromiseRecord, PromiseRecords } from './promise-records.ts'

/** Questions to the recorded promises about who waits for whom. */
export class PromiseGraph {
  readonly #records: PromiseRecords
  readonly #verdicts = new Map<number, boolean>()

  constructor(records: PromiseRecords) {
    this.#records = records
  }

  /** Can this promise never settle? It was collected while pending, or waits for one that was. */
  lost(id: number): boolean {
    const known = this.#verdicts.get(id)
    if (known !== undefined) return known
    // A ring of promises that wait for each other is alive as long as somebody holds it: no loss.
    this.#verdicts.set(id, false)
    const verdict = this.#judge(id)
    this.#verdicts.set(id, verdict)
    return verdict
  }

  /** The promises that this one waits for directly, of a lost one only those that are to blame. */
  below(id: number): number[] {
    const record = this.#records.promises.get(id)
    if (record === undefined) return []
    const { follows, parts, standsAt } = record
    const ids = [...(standsAt === undefined ? [] : [standsAt.target]), ...(follows === undefined ? [] : [follows])]
    const given = parts?.ids ?? []
    const blamed = this.lost(id) ? given.filter((part) => this.lost(part)) : given
    return [...ids, ...blamed].filter((next) => this.#records.promises.has(next))
  }

  /** Every `await` on the way down from a promise, and the promises passed. */
  reach(from: number): { awaits: Set<AwaitRecord>; promises: Set<number> } {
    const awaits = new Set<AwaitRecord>()
    const promises = new Set<number>()
    const open = [from]
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (promises.has(id)) continue
      promises.add(id)
      const standsAt = this.#records.promises.get(id)?.standsAt
      if (standsAt !== undefined) awaits.add(standsAt)
      open.push(...this.below(id))
    }
    return { awaits, promises }
  }

  #judge(id: number): boolean {
    const record = this.#records.promises.get(id)
    if (record === undefined) return false
    if (record.collected) return true
    const { follows, parts, standsAt } = record
    if (follows !== undefined && this.lost(follows)) return true
    if (standsAt !== undefined && this.lost(standsAt.target)) return true
    if (parts === undefined || parts.ids.length === 0) return false
    return parts.needs === 'every'
      ? parts.ids.some((part) => this.lost(part))
      : parts.ids.every((part) => this.lost(part))
  }
}

/** See `PromiseTrace.check`. */
export function lostAwaits(records: PromiseRecords, body: number | undefined): LostPromise[] {
  const graph = new PromiseGraph(records)
  const lost = [...records.awaits.values()].filter(({ user, target }) => user && graph.lost(target))
  return describe(graph, records, lost, body, body === undefined ? undefined : graph.reach(body).awaits)
}

/**
 * Promises of the user's that were collected while pending though no function of the user's awaits any: what a function
 * that is not async has returned. Only those that wait for no other one, newest first; empty while the user's code awaits
 * something.
 */
export function lostResults(records: PromiseRecords): LostPromise[] {
  for (const { user, target } of records.awaits.values()) if (user && records.promises.has(target)) return []
  const graph = new PromiseGraph(records)
  return [...records.promises.values()]
    .filter(({ id, collected, created }) => collected && created.length > 0 && graph.below(id).length === 0)
    .sort((a, b) => b.id - a.id)
    .map(({ created }) => ({ created, awaited: [] }))
}

/** How many `await`s of the user's stand at a promise that is not lost. */
export function aliveAwaits(records: PromiseRecords): number {
  const graph = new PromiseGraph(records)
  let alive = 0
  for (const { user, target } of records.awaits.values()) if (user && !graph.lost(target)) alive++
  return alive
}

/** See `PromiseTrace.waiting`. */
export function waitingAwaits(records: PromiseRecords, body: number | undefined): LostPromise[] {
  if (body === undefined) return []
  const graph = new PromiseGraph(records)
  const reached = graph.reach(body).awaits
  const alive = [...reached].filter(({ user, target }) => user && records.promises.has(target) && !graph.lost(target))
  return describe(graph, records, alive, body, reached)
}

function describe(
  graph: PromiseGraph,
  records: PromiseRecords,
  awaits: AwaitRecord[],
  body: number | undefined,
  ofBody: Set<AwaitRecord> | undefined,
): LostPromise[] {
  const innermost = innermostOf(graph, awaits)
  // The order of the groups: awaited by the body, of unknown standing, an async function whose own `await` was not seen.
  const rank = (record: AwaitRecord): number =>
    (ofBody?.has(record) || record.target === body ? 0 : 2) + (hidesAwait(records.promises.get(record.target)) ? 1 : 0)
  return innermost
    .toSorted((a, b) => rank(a) - rank(b) || b.id - a.id)
    .map(({ target, awaited }) => ({ created: birthOf(graph, records, target), awaited }))
}

/** Those that no other `await` of the user's stands below. In a ring each stands below each: all of it counts. */
function innermostOf(graph: PromiseGraph, awaits: AwaitRecord[]): AwaitRecord[] {
  return awaits.filter((record) =>
    [...graph.reach(record.target).awaits].every(
      (other) => !other.user || other === record || graph.reach(other.target).awaits.has(record),
    ),
  )
}

/** A hung `await` of the user's with all that wait for it, innermost first. */
export type WaitChain = AwaitRecord[]

const MOST_CHAINS = 100
const MOST_STEPS = 100

/**
 * Every innermost `await` of the user's that is pending now, newest first, with the `await`s above it.
 *
 * @param since number of the newest promise at the beginning of what hangs; what is older is left by others
 * @param body promise of what hangs; when `await`s of the user's are known to stand below it, only those are given
 */
export function waitChains(records: PromiseRecords, body: number | undefined, since: number): WaitChain[] {
  const graph = new PromiseGraph(records)
  const pending = [...records.awaits.values()].filter(({ target }) => records.promises.has(target))
  const reached = body === undefined ? undefined : graph.reach(body).awaits
  const user = pending.filter((record) => record.user && (record.id > since || reached?.has(record) === true))
  const innermost = innermostOf(graph, user.slice(-MOST_CHAINS)).sort((a, b) => b.id - a.id)
  const up = upwards(records, pending)
  return innermost.map((first) => {
    const chain = [first]
    for (let next = up(first); next !== undefined && chain.length < MOST_STEPS; next = up(next)) {
      if (chain.includes(next)) break
      chain.push(next)
    }
    return chain
  })
}

/** Finds the `await` that stands on the result of the function that does this one. */
function upwards(records: PromiseRecords, pending: AwaitRecord[]): (from: AwaitRecord) => AwaitRecord | undefined {
  const awaiting = new Map<number, AwaitRecord>()
  for (const record of pending) awaiting.set(record.target, record)
  const followers = new Map<number, number[]>()
  const follow = (id: number, by: number): void => {
    const known = followers.get(id)
    if (known === undefined) followers.set(id, [by])
    else known.push(by)
  }
  for (const { id, follows, parts } of records.promises.values()) {
    if (follows !== undefined) follow(follows, id)
    for (const part of parts?.ids ?? []) follow(part, id)
  }
  return ({ owner }) => {
    const open = owner === undefined ? [] : [owner.id]
    for (const id of open) {
      const found = awaiting.get(id)
      if (found !== undefined) return found
      if (open.length < MOST_STEPS) open.push(...(followers.get(id) ?? []).filter((one) => !open.includes(one)))
    }
    return undefined
  }
}

/** The result of an async function that must stand at some `await` which was not attributed to it. */
function hidesAwait(record: PromiseRecord | undefined): boolean {
  return record?.entry !== undefined && record.standsAt === undefined && record.follows === undefined
}

/** Where the promise was made that all of this comes down to: whoever should have settled that one did not. */
function birthOf(graph: PromiseGraph, records: PromiseRecords, id: number): LostPromise['created'] {
  let created = records.promises.get(id)?.created ?? []
  let deepest = -1
  for (const passed of graph.reach(id).promises) {
    const record = records.promises.get(passed)
    if (record === undefined || record.created.length === 0 || graph.below(passed).length > 0) continue
    if (record.id > deepest) {
      deepest = record.id
      created = record.created
    }
  }
  return created
}
