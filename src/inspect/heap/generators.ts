import { code, type HeapGraph } from './graph.ts'

/** An async function, async generator or module body that is suspended, as far as the snapshot alone tells. */
export interface HeapGenerator {
  node: number
  id: number
  fn: string
  /** Script url, '' when unknown. */
  script: string
  /** Place of the definition, from 0; null when the snapshot does not say. */
  definedAt: { line: number; column: number } | null
  /** Promises that settle when it goes on: its result, or for an async generator the requests that wait for it. */
  results: number[]
  /** Promises that it awaits; one at most, unless the snapshot caught it between two. */
  awaits: number[]
}

const REGISTERS = code('parameters_and_registers')
const FUNCTION = code('function')
const CONTEXT = code('context')
const EXTENSION = code('extension')
const REACTIONS = code('reactions_or_result')
const PROMISE = code('Promise')
const REACTION = code('system / PromiseReaction')
const REQUEST = code('system / AsyncGeneratorRequest')
const SHARED = code('shared')
const SCRIPT = code('script')
const NAME = code('name')
const MAX_CHAIN = 10_000

/**
 * All suspended async functions in a snapshot, by heap id.
 *
 * They are found by their shape and not by their class name: V8 names an async generator after its function. A
 * generator counts as suspended when the reaction of a promise leads to it, which also leaves out finished ones and
 * `function*` iterators.
 */
export function findGenerators(graph: HeapGraph): HeapGenerator[] {
  const found: HeapGenerator[] = []
  for (let node = 0; node < graph.nodeCount; node++) {
    if (!graph.isObject(node) || !isGenerator(graph, node)) continue
    const awaits = awaitedPromises(graph, node)
    if (awaits === null) continue
    const results = resultPromises(graph, node)
    const closure = graph.internal(node, FUNCTION)
    const place = closure < 0 ? null : graph.location(closure)
    found.push({
      node,
      id: graph.id(node),
      fn: closure < 0 ? '' : graph.name(closure),
      script: closure < 0 ? '' : scriptOf(graph, closure),
      definedAt: place,
      results,
      awaits,
    })
  }
  return found.sort((a, b) => a.id - b.id)
}

export function isGenerator(graph: HeapGraph, node: number): boolean {
  const end = graph.endEdge(node)
  for (let edge = graph.firstEdge(node); edge < end; edge++) {
    if (graph.edgeCode(edge) === REGISTERS) return graph.edgeType(edge) === graph.kind.internal
  }
  return false
}

/** Url of the script that a closure was made in, '' for a built-in function. */
export function scriptOf(graph: HeapGraph, closure: number): string {
  const shared = graph.internal(closure, SHARED)
  const script = shared < 0 ? -1 : graph.internal(shared, SCRIPT)
  const name = script < 0 ? -1 : graph.internal(script, NAME)
  return name < 0 ? '' : graph.flat(name)
}

/** True for a function of V8 itself, such as the two that a promise's executor is given. */
export function isBuiltin(graph: HeapGraph, closure: number): boolean {
  const shared = graph.internal(closure, SHARED)
  return shared < 0 || graph.internal(shared, SCRIPT) < 0
}

/** The fixed array in which a suspended generator keeps its parameters and registers, -1 when it has none. */
export function registersOf(graph: HeapGraph, generator: number): number {
  return graph.internal(generator, REGISTERS)
}

function resultPromises(graph: HeapGraph, generator: number): number[] {
  const promises: number[] = []
  const end = graph.endEdge(generator)
  for (let edge = graph.firstEdge(generator); edge < end; edge++) {
    if (graph.edgeType(edge) !== graph.kind.hidden) continue
    const target = graph.target(edge)
    const name = graph.nameCode(target)
    if (name === PROMISE) promises.push(target)
    else if (name === REQUEST) requestPromises(graph, target, promises)
  }
  return promises
}

function requestPromises(graph: HeapGraph, first: number, into: number[]): void {
  const seen = new Set<number>()
  for (let request = first; request >= 0 && !seen.has(request) && seen.size < MAX_CHAIN; ) {
    seen.add(request)
    let next = -1
    const end = graph.endEdge(request)
    for (let edge = graph.firstEdge(request); edge < end; edge++) {
      if (graph.edgeType(edge) !== graph.kind.hidden) continue
      const target = graph.target(edge)
      const name = graph.nameCode(target)
      if (name === REQUEST) next = target
      else if (name === PROMISE) into.push(target)
    }
    request = next
  }
}

/**
 * The awaited promises: generator <- context of the await <- its two closures <- reaction <- promise. Null when no
 * reaction leads to the generator: it is not suspended at an await.
 */
function awaitedPromises(graph: HeapGraph, generator: number): number[] | null {
  const promises = new Set<number>()
  let reacting = false
  for (const edge of graph.incoming(generator)) {
    if (graph.edgeCode(edge) !== EXTENSION) continue
    for (const closureEdge of graph.incoming(graph.source(edge))) {
      const closure = graph.source(closureEdge)
      if (graph.edgeCode(closureEdge) !== CONTEXT || !graph.isClosure(closure)) continue
      for (const reactionEdge of graph.incoming(closure)) {
        if (graph.edgeType(reactionEdge) !== graph.kind.hidden) continue
        const reaction = graph.source(reactionEdge)
        // A generator that keeps its await closures for the next await (V8 14) points at them, too.
        if (graph.isObject(reaction)) continue
        reacting = true
        const promise = promiseOfReaction(graph, reaction)
        if (promise >= 0) promises.add(promise)
      }
    }
  }
  return reacting ? [...promises] : null
}

/** The promise in whose list of reactions this one stands, -1 when it is already being run. */
export function promiseOfReaction(graph: HeapGraph, reaction: number): number {
  const seen = new Set<number>()
  let current = reaction
  while (current >= 0 && !seen.has(current) && seen.size < MAX_CHAIN) {
    seen.add(current)
    let previous = -1
    for (const edge of graph.incoming(current)) {
      const source = graph.source(edge)
      if (graph.edgeCode(edge) === REACTIONS && graph.nameCode(source) === PROMISE) return source
      if (graph.edgeType(edge) === graph.kind.hidden && graph.nameCode(source) === REACTION) previous = source
    }
    current = previous
  }
  return -1
}
