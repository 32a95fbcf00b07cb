import { isBuiltin } from './generators.ts'
import { code, type HeapGraph } from './graph.ts'
import { isTopLevel, variableCount, variablesOf } from './variables.ts'

const FUNCTION = code('function')
const CONTEXT = code('context')
const EXTENSION = code('extension')
const PREVIOUS = code('previous')
const REACTIONS = code('reactions_or_result')
const PROMISE = code('Promise')
const REACTION = code('system / PromiseReaction')
const CAPABILITY = code('system / PromiseCapability')
const MODULE = code('system / SourceTextModule')
const MAX_VISITS = 20_000
/** A context with more slots is a whole module's and says nothing about one closure. */
const MAX_SLOTS = 24
const MAX_NESTING = 3

/**
 * Who goes on when these promises settle: the nearest suspended functions, by node.
 *
 * Only edges that mean "settling this settles that" are followed: reactions, derived promises, the resolving functions
 * of another promise, `Promise.all` and its kin, module evaluation. When these lead nowhere, the captured variables of
 * handlers are looked at for resolving functions, the shape of `new Promise((resolve, reject) => other.then(resolve,
 * reject))` with wrappers around `resolve`.
 *
 * @param generators nodes of the generators to stop at
 * @param self the generator whose results these are; it never awaits itself
 */
export function findAwaiters(
  graph: HeapGraph,
  results: readonly number[],
  generators: { has(node: number): boolean },
  self: number,
): number[] {
  const strict = new SettleWalk(graph, generators, self)
  strict.run(results)
  if (strict.found.size > 0) return [...strict.found]
  const loose = new SettleWalk(graph, generators, self)
  loose.run(results)
  loose.runCaptured()
  return [...loose.found]
}

class SettleWalk {
  readonly found = new Set<number>()
  readonly #graph: HeapGraph
  readonly #generators: { has(node: number): boolean }
  readonly #self: number
  readonly #seen = new Set<number>()
  readonly #queue: number[] = []
  readonly #userHandlers: number[] = []

  constructor(graph: HeapGraph, generators: { has(node: number): boolean }, self: number) {
    this.#graph = graph
    this.#generators = generators
    this.#self = self
  }

  run(promises: readonly number[]): void {
    for (const promise of promises) this.#add(promise)
    this.#drain()
  }

  /** Second way: resolving functions among the variables that the users' handlers have captured. */
  runCaptured(): void {
    for (let at = 0; at < this.#userHandlers.length && at < MAX_VISITS; at++) {
      this.#captured(this.#userHandlers[at]!, MAX_NESTING)
      this.#drain()
    }
  }

  #add(node: number): void {
    if (node < 0 || this.#seen.has(node) || this.#seen.size >= MAX_VISITS) return
    this.#seen.add(node)
    this.#queue.push(node)
  }

  #drain(): void {
    const graph = this.#graph
    while (this.#queue.length > 0) {
      const node = this.#queue.pop()!
      if (this.#generators.has(node)) {
        if (node !== this.#self) this.found.add(node)
        continue
      }
      const name = graph.nameCode(node)
      if (name === PROMISE) {
        const reaction = graph.internal(node, REACTIONS)
        if (reaction >= 0 && graph.nameCode(reaction) === REACTION) this.#add(reaction)
      } else if (name === REACTION || name === CAPABILITY) {
        this.#hidden(node, (target) => this.#settled(target))
      } else if (name === MODULE) {
        this.#importers(node)
      } else if (graph.isClosure(node)) {
        this.#handler(node)
      }
    }
  }

  #hidden(node: number, visit: (target: number) => void): void {
    const graph = this.#graph
    const end = graph.endEdge(node)
    for (let edge = graph.firstEdge(node); edge < end; edge++) {
      if (graph.edgeType(edge) === graph.kind.hidden) visit(graph.target(edge))
    }
  }

  #settled(target: number): void {
    const name = this.#graph.nameCode(target)
    if (
      name === PROMISE ||
      name === REACTION ||
      name === CAPABILITY ||
      name === MODULE ||
      this.#graph.isClosure(target) ||
      this.#generators.has(target)
    ) {
      this.#add(target)
    }
  }

  #handler(closure: number): void {
    const graph = this.#graph
    const context = graph.internal(closure, CONTEXT)
    if (context < 0) return
    if (isBuiltin(graph, closure)) {
      const generator = graph.internal(context, EXTENSION)
      if (generator >= 0 && this.#generators.has(generator)) this.#add(generator)
      else {
        // Only what a built-in handler settles itself; closures in its context are those of `finally`.
        this.#hidden(context, (target) => {
          if (!graph.isClosure(target)) this.#settled(target)
        })
      }
      const bound = graph.edge(closure, 'bound_function')
      if (bound >= 0) this.#userHandlers.push(bound)
    } else {
      this.#userHandlers.push(closure)
    }
  }

  /** A module's body has ended: its own promise settles, and the modules that import it go on. */
  #importers(module: number): void {
    const graph = this.#graph
    this.#hidden(module, (target) => {
      if (graph.nameCode(target) === PROMISE) this.#add(target)
    })
    for (const edge of graph.incoming(module)) {
      const list = graph.source(edge)
      if (graph.type(list) !== 'array') continue
      for (const listEdge of graph.incoming(list)) {
        const importer = graph.source(listEdge)
        if (graph.nameCode(importer) === MODULE) this.#add(importer)
      }
    }
  }

  #captured(closure: number, nesting: number): void {
    const graph = this.#graph
    if (nesting === 0) return
    const bound = graph.edge(closure, 'bound_function')
    if (bound >= 0) this.#captured(bound, nesting - 1)
    let context = graph.internal(closure, CONTEXT)
    for (let level = 0; level < MAX_NESTING && context >= 0 && !this.#seen.has(context); level++) {
      if (isTopLevel(graph, context) || variableCount(graph, context) > MAX_SLOTS) return
      this.#seen.add(context)
      for (const edge of variablesOf(graph, context)) this.#slot(graph.target(edge), nesting)
      context = graph.internal(context, PREVIOUS)
    }
  }

  #slot(value: number, nesting: number): void {
    const graph = this.#graph
    if (graph.isClosure(value)) {
      if (!isBuiltin(graph, value)) this.#captured(value, nesting - 1)
      else if (resolvedBy(graph, value) >= 0) this.#add(resolvedBy(graph, value))
    } else if (graph.isObject(value) && graph.name(value) === 'Object' && graph.internal(value, FUNCTION) < 0) {
      // A deferred: an object that carries `resolve` and `reject`.
      const resolve = graph.edge(value, 'resolve')
      if (resolve >= 0 && graph.isClosure(resolve) && isBuiltin(graph, resolve)) this.#add(resolvedBy(graph, resolve))
    }
  }
}

/** The promise that a resolving function settles, -1 for any other closure. */
function resolvedBy(graph: HeapGraph, closure: number): number {
  const context = graph.internal(closure, CONTEXT)
  if (context < 0) return -1
  const end = graph.endEdge(context)
  for (let edge = graph.firstEdge(context); edge < end; edge++) {
    if (graph.edgeType(edge) === graph.kind.hidden && graph.nameCode(graph.target(edge)) === PROMISE) {
      return graph.target(edge)
    }
  }
  return -1
}
