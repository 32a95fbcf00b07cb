/**
 * Does something that runs by itself lead to a promise that only the program's own variables or objects hold? A poll in a
 * timer keeps no reference to the resolve function of a variable: it names it. So the text of what is scheduled is read, and
 * of the functions that it names.
 */
import type { InspectorCall } from '../drive.ts'
import type { HeldBy } from '../facts.ts'
import { isBuiltin, isGenerator, scriptOf } from './generators.ts'
import { code, type HeapGraph } from './graph.ts'
import { possibleNames, variablesOf } from './variables.ts'

interface Scheduled {
  owner: 'Immediate' | 'Timeout'
  node: number
  /** The function of the user's. */
  closure: number
}

/** A suspended function that something alive will resume. */
export interface Running {
  /** Its node. */
  generator: number
  heldBy: HeldBy[]
}

const FUNCTION = code('function')
const CONTEXT = code('context')
const PREVIOUS = code('previous')
const CONTEXT_NAME = code('system / Context')
const GROUP = 'harrow-scheduled'
/** Each costs a walk over the heap. */
const MOST_TEXTS = 10
const MOST_TIMERS = 20
const MOST_CONTEXTS = 20
const MAX_HOPS = 2
const MAX_VISITS = 500
const MAX_TEXT = 20_000

const CALLBACK = { Immediate: '_onImmediate', Timeout: '_onTimeout' } as const

/**
 * What runs by itself and leads to a promise by the names in its code: pending timers with a callback of the user's, and
 * suspended functions that wait for something alive.
 *
 * @param waiter node of the suspended function that waits for the promise
 * @param ways nodes of the objects and functions that hold the promise, see `findHolders`
 * @returns the first such thing as a holder of the promise; empty when there is none
 */
export function* drivenBy(
  graph: HeapGraph,
  waiter: number,
  ways: ReadonlySet<number>,
  running: readonly Running[],
  isUser: (url: string) => boolean,
): Generator<InspectorCall, HeldBy[], unknown> {
  const texts = new Map<number, string>()
  try {
    for (const { owner, node, closure } of scheduledOf(graph, isUser).slice(0, MOST_TIMERS)) {
      if (yield* leadsTo(graph, closure, ways, isUser, texts))
        return [{ owner, path: `${owner}.${CALLBACK[owner]}`, id: graph.id(node) }]
    }
    for (const { generator, heldBy } of running.slice(0, MOST_TIMERS)) {
      const closure = graph.internal(generator, FUNCTION)
      if (closure < 0 || (yield* encloses(graph, closure, waiter, texts))) continue
      if (yield* leadsTo(graph, closure, ways, isUser, texts)) return heldBy
    }
    return []
  } finally {
    if (texts.size > 0) yield* release()
  }
}

/** Does the text of a function hold that of the waiter, as a module's does? Whatever it names then may be the waiter's own words. */
function* encloses(
  graph: HeapGraph,
  closure: number,
  waiter: number,
  texts: Map<number, string>,
): Generator<InspectorCall, boolean, unknown> {
  const own = graph.internal(waiter, FUNCTION)
  for (const one of [closure, own]) {
    if (one < 0 || texts.has(one)) continue
    if (texts.size >= MOST_TEXTS) return true
    texts.set(one, yield* textOf(graph.id(one)))
  }
  const text = texts.get(closure) ?? ''
  return text.length === MAX_TEXT || (own >= 0 && text.includes(texts.get(own) ?? ''))
}

/** Pending timers whose callback is the user's. */
function scheduledOf(graph: HeapGraph, isUser: (url: string) => boolean): Scheduled[] {
  const found: Scheduled[] = []
  for (let node = 0; node < graph.nodeCount; node++) {
    if (!graph.isObject(node)) continue
    const owner = graph.name(node)
    if (owner !== 'Immediate' && owner !== 'Timeout') continue
    const closure = graph.edge(node, CALLBACK[owner])
    // What has fired or was cleared stands in no list.
    if (closure < 0 || !graph.isClosure(closure) || (owner === 'Timeout' && !isListed(graph, node))) continue
    if (isUser(scriptOf(graph, closure)) || isBound(graph, closure)) found.push({ owner, node, closure })
  }
  return found
}

function isListed(graph: HeapGraph, timer: number): boolean {
  const next = graph.edge(timer, '_idleNext')
  return next >= 0 && graph.isObject(next)
}

function isBound(graph: HeapGraph, closure: number): boolean {
  return graph.edge(closure, 'bound_function') >= 0
}

/** Does this function name something that leads to the promise, itself or by functions that it names? */
function* leadsTo(
  graph: HeapGraph,
  closure: number,
  ways: ReadonlySet<number>,
  isUser: (url: string) => boolean,
  texts: Map<number, string>,
): Generator<InspectorCall, boolean, unknown> {
  const queue = [closure]
  const seen = new Set(queue)
  for (const one of queue) {
    const bound = graph.edge(one, 'bound_this')
    if (bound >= 0 && reaches(graph, bound, ways)) return true
    const target = graph.edge(one, 'bound_function')
    if (target >= 0 && !seen.has(target)) {
      seen.add(target)
      queue.push(target)
    }
    if (isBuiltin(graph, one) || !isUser(scriptOf(graph, one))) continue
    if (!texts.has(one)) {
      if (texts.size >= MOST_TEXTS) return false
      texts.set(one, yield* textOf(graph.id(one)))
    }
    for (const value of valuesOf(graph, one, namesIn(texts.get(one)!))) {
      if (seen.has(value)) continue
      seen.add(value)
      if (reaches(graph, value, ways)) return true
      if (graph.isClosure(value)) queue.push(value)
    }
  }
  return false
}

function* textOf(id: number): Generator<InspectorCall, string, unknown> {
  try {
    const object = (yield {
      method: 'HeapProfiler.getObjectByHeapObjectId',
      params: { objectId: String(id), objectGroup: GROUP },
    }) as { result?: { objectId?: string } } | undefined
    const objectId = object?.result?.objectId
    if (objectId === undefined) return ''
    const answer = (yield {
      method: 'Runtime.callFunctionOn',
      params: {
        objectId,
        functionDeclaration: 'function () { return Function.prototype.toString.call(this) }',
        returnByValue: true,
        silent: true,
      },
    }) as { result?: { value?: unknown } } | undefined
    const text = answer?.result?.value
    return typeof text === 'string' ? text.slice(0, MAX_TEXT) : ''
  } catch {
    return ''
  }
}

function* release(): Generator<InspectorCall, void, unknown> {
  try {
    yield { method: 'Runtime.releaseObjectGroup', params: { objectGroup: GROUP } }
  } catch {
    // The objects go with the connection at the latest.
  }
}

const NO_CODE = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g

/** Names of variables in a text; those behind a point are properties. */
function namesIn(source: string): Set<string> {
  const text = source.replace(NO_CODE, ' ')
  return new Set([...text.matchAll(/(?<![\w$.#])[A-Za-z_$][\w$]*|(?<=\.\.\.)[A-Za-z_$][\w$]*/g)].map(([name]) => name))
}

/** Values of the variables with these names that a function sees. */
function* valuesOf(graph: HeapGraph, closure: number, names: ReadonlySet<string>): Generator<number> {
  let context = graph.internal(closure, CONTEXT)
  for (let depth = 0; context >= 0 && depth < MOST_CONTEXTS && graph.nameCode(context) === CONTEXT_NAME; depth++) {
    for (const edge of variablesOf(graph, context)) {
      const possible = possibleNames(graph, context, edge)
      // Where a name is not sure, each that it can be has to be there: any other object could be taken for one that is named.
      if (possible.length > 0 && possible.every((name) => names.has(name))) yield graph.target(edge)
    }
    context = graph.internal(context, PREVIOUS)
  }
}

/** Is one of the ways this value, or in its fields? What merely stands in a list with others is not named by that. */
function reaches(graph: HeapGraph, value: number, ways: ReadonlySet<number>): boolean {
  let level = [value]
  const seen = new Set(level)
  for (let hop = 0; hop <= MAX_HOPS; hop++) {
    const next: number[] = []
    for (const node of level) {
      if (ways.has(node)) return true
      // What a function has captured is told by its text.
      if (!graph.isObject(node) || isGenerator(graph, node)) continue
      const end = graph.endEdge(node)
      for (let edge = graph.firstEdge(node); edge < end; edge++) {
        if (graph.edgeType(edge) !== graph.kind.property) continue
        const target = graph.target(edge)
        if (seen.has(target) || seen.size > MAX_VISITS || /^(?:__proto__|constructor)$/.test(graph.label(edge)))
          continue
        seen.add(target)
        next.push(target)
      }
    }
    level = next
  }
  return false
}
