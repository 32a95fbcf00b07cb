import { isBuiltin, scriptOf } from './generators.ts'
import { code, type HeapGraph } from './graph.ts'
import { isTopLevel, variableCount, variablesOf } from './variables.ts'

const CONTEXT = code('context')
const PREVIOUS = code('previous')
const TIMERS = ['setTimeout', 'setInterval', 'setImmediate']
const MOST_VARIABLES = 40
const MOST_LEVELS = 3

/** The clock of `@sinonjs/fake-timers`, which vitest and jest install: known by its methods. */
export function isFakeClock(graph: HeapGraph, node: number): boolean {
  if (!graph.isObject(node)) return false
  let methods = 0
  const end = graph.endEdge(node)
  for (let edge = graph.firstEdge(node); edge < end; edge++) {
    if (graph.edgeType(edge) !== graph.kind.property) continue
    const label = graph.label(edge)
    if (label === 'tick' || label === 'runAll' || label === 'runToLast') methods++
  }
  return methods >= 3
}

/**
 * A timer of a fake clock. That of `@sinonjs/fake-timers` has its time to run in a field `callAt`, visible when it is not a
 * small integer; that of `node:test` has the name of Node's own class and none of its fields.
 */
export function isFakeTimer(graph: HeapGraph, node: number): boolean {
  if (!graph.isObject(node)) return false
  const name = graph.name(node)
  if (name === 'Object') return graph.edge(node, 'callAt') >= 0
  return name === 'Timeout' && graph.edge(node, 'callback') >= 0 && graph.edge(node, '_onTimeout') < 0
}

/**
 * Objects and variables of whatever stands in the place of the global timer functions, when somebody has replaced them by
 * functions of their own: a promise that only these can settle waits for a clock that is not Node's.
 */
export function replacedTimers(graph: HeapGraph): ReadonlySet<number> {
  const parts = new Set<number>()
  for (const global of globals(graph)) {
    for (const name of TIMERS) {
      const timer = graph.edge(global, name)
      if (timer >= 0 && graph.isClosure(timer)) addParts(graph, timer, parts)
    }
  }
  return parts
}

function* globals(graph: HeapGraph): Generator<number> {
  for (let node = 0; node < graph.nodeCount; node++) {
    if (graph.isObject(node) && graph.name(node).startsWith('global')) yield node
  }
}

function addParts(graph: HeapGraph, timer: number, parts: Set<number>): void {
  const target = graph.edge(timer, 'bound_function')
  if (target >= 0) {
    const receiver = graph.edge(timer, 'bound_this')
    if (receiver >= 0 && graph.isObject(receiver) && !graph.name(receiver).startsWith('global')) parts.add(receiver)
    if (graph.isClosure(target)) addParts(graph, target, parts)
    return
  }
  if (isBuiltin(graph, timer) || scriptOf(graph, timer).startsWith('node:')) return
  let context = graph.internal(timer, CONTEXT)
  for (let level = 0; level < MOST_LEVELS && context >= 0; level++) {
    if (isTopLevel(graph, context) || variableCount(graph, context) > MOST_VARIABLES) return
    parts.add(context)
    // `this` of an arrow function, the list of what is due.
    for (const edge of variablesOf(graph, context)) {
      const value = graph.target(edge)
      if (graph.isObject(value) && !graph.name(value).startsWith('global')) parts.add(value)
    }
    context = graph.internal(context, PREVIOUS)
  }
}
