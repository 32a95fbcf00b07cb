import { code, type HeapGraph } from './graph.ts'

const EXTENSION = code('extension')
const PREVIOUS = code('previous')
const NATIVE_CONTEXT = code('system / NativeContext')
const SCOPE_INFO = code('scope_info')

/** Edges from a context to the values of its variables. */
export function* variablesOf(graph: HeapGraph, context: number): Generator<number> {
  const end = graph.endEdge(context)
  for (let edge = graph.firstEdge(context); edge < end; edge++) {
    const type = graph.edgeType(edge)
    if (type === graph.kind.context || type === graph.kind.hidden) yield edge
  }
}

/** How many variables a context has, small integers not counted. */
export function variableCount(graph: HeapGraph, context: number): number {
  let count = 0
  for (const _edge of variablesOf(graph, context)) count++
  return count
}

/** The variables of a whole module or script: every function of it retains them. */
export function isTopLevel(graph: HeapGraph, context: number): boolean {
  if (graph.internal(context, EXTENSION) >= 0) return true
  const previous = graph.internal(context, PREVIOUS)
  return previous >= 0 && graph.nameCode(previous) === NATIVE_CONTEXT
}

/**
 * Name of the variable behind an edge of a context, null when it cannot be told.
 *
 * V8 names the edges of function contexts only. Those of blocks are numbered, and vite wraps every module in a block;
 * the names then stand in the scope's description, in the same order. Small integers have no edge, so with some of
 * them among the variables a name is sure only where the functions around it, which know their names, leave no choice.
 */
export function variableName(graph: HeapGraph, context: number, edge: number): string | null {
  const names = possibleNames(graph, context, edge)
  return names.length === 1 ? names[0]! : null
}

/** Names that the variable behind an edge of a context can have; empty when nothing is known, see {@link variableName}. */
export function possibleNames(graph: HeapGraph, context: number, edge: number): string[] {
  if (graph.edgeType(edge) === graph.kind.context) return [graph.label(edge)]
  const names = scopeNames(graph, context)
  const edges = [...variablesOf(graph, context)].filter((other) => graph.edgeType(other) === graph.kind.hidden)
  const place = edges.indexOf(edge)
  if (place < 0) return []
  let least = place
  let most = place + names.length - edges.length
  for (const [at, other] of edges.entries()) {
    const target = graph.target(other)
    if (!graph.isClosure(target)) continue
    const known = names.indexOf(graph.name(target))
    if (known < 0) continue
    if (at <= place) least = Math.max(least, known + place - at)
    if (at >= place) most = Math.min(most, known - (at - place))
  }
  return names.slice(least, most + 1)
}

function scopeNames(graph: HeapGraph, context: number): string[] {
  const info = graph.internal(context, SCOPE_INFO)
  const names: string[] = []
  if (info < 0) return names
  const end = graph.endEdge(info)
  for (let edge = graph.firstEdge(info); edge < end; edge++) {
    if (graph.edgeType(edge) !== graph.kind.hidden) continue
    if (!graph.type(graph.target(edge)).endsWith('string')) break
    names.push(graph.flat(graph.target(edge)))
  }
  return names
}
