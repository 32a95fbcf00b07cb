import { ProbeError } from '../errors.ts'
import type { InspectorCall } from './drive.ts'
import type { Position } from './facts.ts'

/** One function that is suspended at an `await`, or a combinator that stands between two of them. */
export interface AsyncStackFrame {
  /** Function name, '' for an anonymous one; name of the combinator (`all`, `any`, `allSettled`). */
  fn: string
  /** The very `await`; null for a combinator. */
  at: Position | null
  /** Where the function begins, 1-based; null when V8 does not say. */
  definedAt: { line: number; column: number } | null
  /** Place among the members of a combinator. */
  index?: number
}

/** A pending promise and who goes on when it settles, innermost first. */
export interface AsyncStack {
  /** Heap object id, good once a snapshot has been taken in this process; 0 before. */
  promise: number
  frames: AsyncStackFrame[]
}

export interface AsyncStacks {
  stacks: AsyncStack[]
  /** Promises of all states that were looked at. */
  promises: number
  /** What was left out and why, one sentence each. */
  notes: string[]
}

export interface AsyncStacksOptions {
  /** Most promises to look at. Default 200,000; 5 microseconds for a settled one, 20 for a pending one. */
  maxPromises?: number
  /** Most stacks to answer with. Default 20,000. */
  maxStacks?: number
  /** Time for looking at them in milliseconds, without the search for them. Default 2000. */
  budgetMs?: number
  /** Ask for the heap ids of the promises, so that they can be found in a snapshot taken before. Default false. */
  ids?: boolean
  /** Execution context of the inspector; without it the default one. Promises of other `vm` contexts are of another class. */
  contextId?: number
}

const GROUP = 'harrow-stacks'
const MAX_FRAMES = 64
const MAX_IDS = 5000

/**
 * Where every suspended async function stands and who waits for it, without a heap snapshot: exact positions in some
 * hundred milliseconds also on a heap of hundreds of megabytes.
 *
 * `Runtime.queryObjects` finds all promises by one walk over the heap. V8 makes the stack of an error that is thrown
 * after an `await` longer by those who wait for the running function, which it finds through the reactions of pending
 * promises ("zero-cost async stack traces"); so a probe function whose promise seems to be awaited by way of a given
 * promise gets that promise's waiters in its stack, as call sites with line and column. The probe hangs on a capability
 * whose promise is the given one and whose resolving functions do nothing: the promise looked at is not touched, gets no
 * reaction and no handler. Probes run in a `vm` context with a microtask queue of its own (`afterEvaluate`), so no
 * promise job of the program runs.
 *
 * V8 follows a promise only while it has exactly one reaction: waiters of a promise with several are not found.
 * The walk starts with a full garbage collection, so pending promises that nothing can settle are gone.
 * Works on Node 22, 24 and 26 (`test/inspect/async-stacks.test.ts`).
 *
 * @throws {ProbeError} when the promises cannot be asked for
 */
export function* asyncStacks(options: AsyncStacksOptions = {}): Generator<InspectorCall, AsyncStacks, unknown> {
  const { maxPromises = 200_000, maxStacks = 20_000, budgetMs = 2000, ids = false, contextId } = options
  const context = contextId === undefined ? {} : { contextId }
  const prototype = remote(
    yield {
      method: 'Runtime.evaluate',
      // The class that `await` makes, whatever the global `Promise` is by now.
      params: { expression: 'Object.getPrototypeOf((async () => {})())', objectGroup: GROUP, silent: true, ...context },
    },
  )
  const all = yield {
    method: 'Runtime.queryObjects',
    params: { prototypeObjectId: prototype, objectGroup: GROUP },
  }
  const found = remote(
    yield {
      method: 'Runtime.callFunctionOn',
      params: {
        objectId: fields(fields(all).objects).objectId,
        functionDeclaration: PROBE,
        arguments: [maxPromises, maxStacks, budgetMs, MAX_FRAMES].map((value) => ({ value })),
        objectGroup: GROUP,
        silent: true,
      },
    },
  )
  try {
    const { stacks, notes, promises } = readRows(yield* property(found, 'text'))
    if (ids) yield* addIds(found, stacks, notes)
    return { stacks, promises, notes }
  } finally {
    yield* release()
  }
}

function* release(): Generator<InspectorCall, void, unknown> {
  try {
    yield { method: 'Runtime.releaseObjectGroup', params: { objectGroup: GROUP } }
  } catch {
    // The objects go with the connection at the latest.
  }
}

function* addIds(found: string, stacks: AsyncStack[], notes: string[]): Generator<InspectorCall, void, unknown> {
  const list = (yield {
    method: 'Runtime.callFunctionOn',
    params: { objectId: found, functionDeclaration: 'function () { return this.kept }', objectGroup: GROUP },
  }) as unknown
  const elements = yield {
    method: 'Runtime.getProperties',
    params: { objectId: remote(list), ownProperties: true },
  }
  let asked = 0
  for (const element of items(fields(elements).result)) {
    const { name, value } = fields(element)
    const stack = typeof name === 'string' && /^\d+$/.test(name) ? stacks[Number(name)] : undefined
    const { objectId } = fields(value)
    if (stack === undefined || objectId === undefined) continue
    if (++asked > MAX_IDS) {
      notes.push(`only the first ${MAX_IDS} pending promises were looked for in the snapshot`)
      return
    }
    const answer = (yield { method: 'HeapProfiler.getHeapObjectId', params: { objectId } }) as unknown
    const { heapSnapshotObjectId: id } = fields(answer)
    stack.promise = typeof id === 'string' ? Number(id) || 0 : 0
  }
}

function* property(object: string, name: string): Generator<InspectorCall, unknown, unknown> {
  const answer = yield {
    method: 'Runtime.callFunctionOn',
    params: { objectId: object, functionDeclaration: `function () { return this.${name} }`, returnByValue: true },
  }
  return fields(fields(answer).result).value
}

function remote(answer: unknown): string {
  const { result, exceptionDetails } = fields(answer)
  if (exceptionDetails !== undefined) {
    const { exception, text } = fields(exceptionDetails)
    const why = fields(exception).description ?? text
    throw new ProbeError(
      `the pending promises could not be looked at: ${typeof why === 'string' ? why.split('\n', 1)[0] : 'no reason given'}`,
    )
  }
  const { objectId } = fields(result)
  if (typeof objectId !== 'string') throw new ProbeError('the pending promises could not be looked at: no answer')
  return objectId
}

/** The answers come from the patient: none of it is taken for granted. */
function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function items(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function readRows(text: unknown): AsyncStacks {
  let parsed: unknown
  try {
    parsed = JSON.parse(String(text))
  } catch (cause) {
    throw new ProbeError('the pending promises could not be looked at: no readable answer', { cause })
  }
  const { stacks, notes, promises } = fields(parsed)
  return {
    stacks: items(stacks).map((rows) => ({ promise: 0, frames: items(rows).map((row) => readFrame(items(row))) })),
    promises: typeof promises === 'number' ? promises : 0,
    notes: items(notes).filter((note) => typeof note === 'string'),
  }
}

/** From a row of the probe: name, url, line, column, line and column of the definition; without url a combinator. */
function readFrame([fn, url, line, column, fromLine, fromColumn]: unknown[]): AsyncStackFrame {
  if (url === null || url === undefined) {
    const index = typeof line === 'number' ? { index: line } : {}
    return { fn: textOf(fn), at: null, definedAt: null, ...index }
  }
  const known = typeof fromLine === 'number' && typeof fromColumn === 'number' && fromLine > 0
  return {
    fn: textOf(fn),
    at: { url: textOf(url), line: numberOf(line), column: numberOf(column) },
    definedAt: known ? { line: fromLine, column: Math.max(1, fromColumn) } : null,
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
const numberOf = (value: unknown): number => (typeof value === 'number' && value > 0 ? value : 1)

/**
 * Runs in the thread that is looked at, with the array of promises as `this`. It uses only what the `vm` context brings
 * with it: the program may have replaced the globals of its own.
 */
const PROBE = `function (maxPromises, maxStacks, budgetMs, maxFrames) {
  const vm = globalThis.process?.getBuiltinModule?.('node:vm')
  if (!vm) throw new Error('process.getBuiltinModule is missing')
  const promises = this
  const { inspect } = globalThis.process.getBuiltinModule('node:util')
  const form = { depth: 0, customInspect: false, maxArrayLength: 0, maxStringLength: 0, breakLength: Infinity }
  const isPending = (promise) => {
    try {
      return inspect(promise, form).includes('<pending>')
    } catch {
      return true
    }
  }
  const context = vm.createContext({}, { microtaskMode: 'afterEvaluate' })
  const result = { kept: [], text: '' }
  context.input = { promises, isPending, result, maxPromises, maxStacks, budgetMs, maxFrames }
  vm.runInContext('(' + ${JSON.stringify(probeInContext.toString())} + ')(input)', context)
  vm.runInContext('input.finish()', context)
  return result
}`

interface ProbeInput {
  promises: Promise<unknown>[]
  /** Four times cheaper than a probe, and makes no promise that a hook of the program would see. */
  isPending(promise: Promise<unknown>): boolean
  result: { kept: Promise<unknown>[]; text: string }
  maxPromises: number
  maxStacks: number
  budgetMs: number
  maxFrames: number
  finish(): void
}

/** Sent as text, so it may use nothing from around it; typed only to be checked. */
function probeInContext(input: ProbeInput): void {
  const { promises, isPending, result, maxPromises, maxStacks, budgetMs, maxFrames } = input
  const began = Date.now()
  const stacks: (string | number | null)[][][] = []
  const notes: string[] = []
  const noop = (): void => {}
  const { then } = Promise.prototype
  Error.stackTraceLimit = maxFrames + 64
  Error.prepareStackTrace = (_error, sites) => {
    const rows: (string | number | null)[][] = []
    for (const site of sites) {
      if (!site.isAsync() || rows.length === maxFrames) continue
      const url = site.getScriptNameOrSourceURL()
      if (url === null || url === undefined) {
        rows.push([site.isPromiseAll() ? 'all' : site.getFunctionName(), null, site.getPromiseIndex()])
        continue
      }
      const more = site as NodeJS.CallSite & { getEnclosingLineNumber?(): number; getEnclosingColumnNumber?(): number }
      rows.push([
        site.getFunctionName(),
        url,
        site.getLineNumber(),
        site.getColumnNumber(),
        more.getEnclosingLineNumber?.() ?? null,
        more.getEnclosingColumnNumber?.() ?? null,
      ])
    }
    return rows
  }
  const look = (promise: Promise<unknown>): void => {
    const probe = (async () => {
      await undefined
      if (stacks.length >= maxStacks) return
      const rows = new Error('probe').stack as unknown as (string | number | null)[][]
      if (rows.length === 0) return
      stacks.push(rows)
      result.kept.push(promise)
    })()
    // The species constructor makes a capability whose promise is the one to look at.
    const species = function (this: unknown, executor: (resolve: () => void, reject: () => void) => void): unknown {
      executor(noop, noop)
      return promise
    }
    Object.defineProperty(probe, 'constructor', { value: { [Symbol.species]: species } })
    then.call(probe, noop, noop)
  }
  let looked = 0
  for (const promise of promises) {
    if (looked === maxPromises || (looked % 256 === 0 && Date.now() - began > budgetMs)) break
    looked++
    if (isPending(promise)) look(promise)
  }
  if (looked < promises.length)
    notes.push(`${promises.length - looked} of ${promises.length} promises were not looked at`)
  input.finish = () => {
    if (stacks.length >= maxStacks) notes.push(`more than ${maxStacks} pending promises: the rest is left out`)
    result.text = JSON.stringify({ stacks, notes, promises: looked })
  }
}
