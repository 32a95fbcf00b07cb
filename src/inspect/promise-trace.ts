import { types } from 'node:util'
import v8 from 'node:v8'
import vm from 'node:vm'
import type { CallCounts } from './call-counts.ts'
import type { LostPromise } from './facts.ts'
import { type LockFacts, readLocks } from './lock-trace.ts'
import { aliveAwaits, lostAwaits, lostResults, PromiseGraph, waitChains, waitingAwaits } from './promise-graph.ts'
import { PromiseRecords } from './promise-records.ts'
import { readSites } from './promise-sites.ts'

// Taken when this module is loaded: a fake clock that is installed later must not stop the trace.
const { setImmediate, setTimeout } = globalThis

/** Options of {@link startPromiseTrace}. */
export interface PromiseTraceOptions {
  /** Which scripts are the user's; gets the url or path as V8 knows it. */
  isUser(url: string): boolean
  /** Most promises and awaits that are pending and recorded at one time; 200 000 by default. */
  maxPromises?: number
}

/** A running (or stopped) trace of the promises of this thread. */
export interface PromiseTrace {
  /**
   * Takes the promise that the test, hook or import answered with; anything else is ignored. It is held weakly. The
   * newest call counts.
   */
  watchBody(body: unknown): void
  /**
   * Collects garbage until no further promise turns up lost.
   * @param boundMs 1000 by default
   */
  settle(boundMs?: number): Promise<void>
  /**
   * Can the watched body never settle? True only when it was collected while pending or stands at an `await` (through
   * however many) of a promise that was. False also means: not known. Call {@link settle} first.
   */
  bodyLost(): boolean
  /**
   * Lost promises that the user's code awaits, most telling first: those that the watched body waits for, then others;
   * in each group the innermost `await` only, newest first. Call {@link settle} first.
   */
  check(): LostPromise[]
  /** What a function that is not async has returned and that was collected while pending; see `lostResults`. */
  results(): LostPromise[]
  /** The innermost user `await`s that the watched body stands at while what they wait for is still alive. */
  waiting(): LostPromise[]
  /**
   * Is nothing left but losses? True when no `await` of the user's, whoever made it, stands at a promise that may still
   * settle. Call {@link settle} first.
   */
  allLost(): boolean
  /**
   * The locks that what hangs waits for, and who has them.
   * @param counts started before the user's code was loaded
   */
  locks(counts: CallCounts): LockFacts
  /** False when there were more than `maxPromises`: what was not recorded cannot turn up. */
  complete(): boolean
  /** Ends the recording; what was recorded can still be asked for. */
  stop(): void
}

/**
 * Records where promises are born and awaited, and which of them are collected while pending. Costs some 10 µs for
 * each promise: for the re-run of a single test, not for every day.
 */
export function startPromiseTrace(options: PromiseTraceOptions): PromiseTrace {
  const { isUser, maxPromises = 200_000 } = options
  const records = new PromiseRecords(isUser, maxPromises)
  const ids = new WeakMap<object, number>()
  const registry = new FinalizationRegistry<number>((id) => records.collected(id))
  let last = 0
  let body: number | undefined
  /** Newest promise when the body before this one ended: what is newer belongs to what runs. */
  let since = 0

  function number(promise: object): number {
    last += 1
    ids.set(promise, last)
    return last
  }

  /** Also for a promise that is older than the trace. */
  function adopt(promise: object): number {
    const known = ids.get(promise)
    if (known !== undefined) return known
    const id = number(promise)
    records.adopt(id)
    registry.register(promise, id)
    return id
  }

  function init(promise: Promise<unknown>, parent?: Promise<unknown>): void {
    // An error in a hook would surface in the user's code, where the promise was made.
    try {
      const parentId = parent === undefined ? undefined : adopt(parent)
      const id = number(promise)
      if (records.born(id, parentId, readSites(init))) registry.register(promise, id)
    } catch {
      records.overflowed = true
    }
  }

  const stop = v8.promiseHooks.createHook({
    init,
    before(promise) {
      const id = ids.get(promise)
      if (id !== undefined) records.jobBegins(id)
    },
    after() {
      records.jobEnds()
    },
    settled(promise) {
      const id = ids.get(promise)
      if (id === undefined) return
      records.settled(id)
      if (id === body) since = last
    },
  }) as () => void

  return {
    watchBody(value) {
      body = types.isPromise(value) ? adopt(value) : undefined
      since = last
    },
    settle: (boundMs = 1000) => settle(() => lostCount(records), boundMs),
    bodyLost: () => body !== undefined && new PromiseGraph(records).lost(body),
    check: () => lostAwaits(records, body),
    results: () => lostResults(records),
    waiting: () => waitingAwaits(records, body),
    allLost: () => !records.overflowed && aliveAwaits(records) === 0,
    locks: (counts) => readLocks(records, waitChains(records, body, since), counts),
    complete: () => !records.overflowed,
    stop,
  }
}

/** On a busy machine one collection may take longer than the bound, and what it frees turns up a round later. */
const FEWEST_ROUNDS = 4

/** The registry calls back from the loop, and what it frees may free more: several rounds, until two bring nothing. */
async function settle(count: () => number, boundMs: number): Promise<void> {
  const collect = findGc()
  const until = performance.now() + boundMs
  let quiet = 0
  let before = count()
  for (let round = 0; quiet < 3 && (round < FEWEST_ROUNDS || performance.now() < until); round++) {
    collect()
    await turn()
    const now = count()
    quiet = now === before ? quiet + 1 : 0
    before = now
  }
}

/** V8 runs the callbacks of a registry as a task of its platform, which may need a look at the clock. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setTimeout(() => setImmediate(resolve), 1)))
}

function lostCount(records: PromiseRecords): number {
  let count = 0
  for (const { collected } of records.promises.values()) if (collected) count += 1
  return count
}

let gc: (() => void) | undefined

/** `gc` of a fresh context: this process need not be started with `--expose-gc`. */
function findGc(): () => void {
  if (gc === undefined) {
    v8.setFlagsFromString('--expose-gc')
    gc = vm.runInNewContext('gc') as () => void
    v8.setFlagsFromString('--no-expose-gc')
  }
  return gc
}
