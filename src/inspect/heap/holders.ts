import type { HeldBy } from '../facts.ts'
import { isFakeClock, isFakeTimer, replacedTimers } from './clocks.ts'
import { isBuiltin, isGenerator, scriptOf } from './generators.ts'
import { code, type HeapGraph } from './graph.ts'
import { renderPath, type Step } from './path.ts'
import { isTopLevel, variableCount } from './variables.ts'

const FUNCTION = code('function')
const CONTEXT = code('context')
const EXTENSION = code('extension')
const REGISTERS = code('parameters_and_registers')
const PROMISE = code('Promise')
const SHARED = code('shared')
const MAP = code('map')
const PROTO = code('__proto__')
const ELEMENTS = code('elements')
const PROPERTIES = code('properties')
const RECEIVER = code('receiver')
const CONTEXT_NAME = code('system / Context')

/** The parts of a promise: going through them is no step away from it. */
const OF_PROMISES = new Set([
  code('Promise'),
  code('system / PromiseReaction'),
  code('system / PromiseCapability'),
  code('system / AsyncGeneratorRequest'),
])

const MAX_DEPTH = 14
const MAX_VISITS = 20_000
const MAX_HELD_BY = 3
/** Visits of the walk beyond an object of the user's. */
const MAX_BEHIND = 2000
/** More slots than this: the variables of a whole module, which every function of it retains. */
const MODULE_SLOTS = 40

/** Objects that say nothing about who settles a promise: containers, and Node's own bookkeeping of async calls. */
const PLAIN = new Set([
  'Object',
  'Array',
  'Map',
  'Set',
  'WeakMap',
  'WeakSet',
  'WeakRef',
  'Promise',
  'Function',
  'Arguments',
  'AsyncResource',
  'AsyncContextFrame',
  'Module',
  'Listener',
  'TimerHeap',
  // Queues of events.on(), which readline and others read from.
  'FixedQueue',
  'FixedCircularBuffer',
  'Window',
])
const LOADER = new Set([
  'ModuleJob',
  'ModuleJobBase',
  'ModuleJobSync',
  'ModuleLoader',
  'LoadCache',
  'ResolveCache',
  'ModuleWrap',
])

/** Where V8 keeps the promises that `Atomics.notify` settles. */
const WAIT_ASYNC = 'atomics_waitasync_promises'

const NODE_PARTS = [
  ['node:internal/deps/undici/', 'fetch'],
  ['node:internal/modules/', 'module loader'],
] as const

interface Candidate extends HeldBy {
  /** Its node, when it is an object. */
  node?: number
  /** Where it was met. */
  step: Step
  /** 0: a named object that can settle; 1: a variable that holds a container; 2: a variable that holds a function. */
  rank: number
}

/**
 * Who holds what can settle these promises: the nearest named objects and variables among the retainers of their
 * resolving functions, nearest first, at most 3.
 *
 * @param promises nodes of the promises that a leaf awaits
 * @param ways gets the nodes that lie between the holders and the promises
 * @param suspended gets the suspended functions that have a resolving function, or what leads to one, among their locals
 */
export function findHolders(
  graph: HeapGraph,
  promises: readonly number[],
  ways?: Set<number>,
  suspended?: Set<number>,
): HeldBy[] {
  const settling = new HolderWalk(graph, false, MAX_VISITS, suspended).run(promises)
  const candidates = settling.length > 0 ? settling : new HolderWalk(graph, true).run(promises)
  const best = candidates.reduce((least, candidate) => Math.min(least, candidate.rank), 3)
  const held: HeldBy[] = []
  const paths = new Set<string>()
  for (const { rank, node, step, ...candidate } of candidates) {
    if (rank !== best || paths.has(candidate.path) || held.length === MAX_HELD_BY) continue
    if (ways) addWays(graph, step, ways)
    paths.add(candidate.path)
    const behind = node === undefined || SYSTEM.test(candidate.owner) ? undefined : systemBehind(graph, node)
    held.push(behind === undefined ? candidate : { ...candidate, behind })
  }
  return held
}

/** Objects of Node's whose events come from outside of the program. */
const RUNS =
  /^(?:Timeout|Immediate|TimersList|FakeClock|globalThis|module loader|fetch|process|Worker|MessagePort|BroadcastChannel|AbortSignal|FileHandle|Interface|ClientRequest|IncomingMessage|ServerResponse|HTTPParser|Atomics\.waitAsync|ChildProcess|\w*(?:Server|Socket|Stream|Wrap|Watcher|Session)|FSReq\w*|Readable|Writable|Duplex|Transform|PassThrough)$/

/** Is this an object or variable of the program's own, which nothing makes settle a promise but the program's code? */
export function isProgramsOwn(held: HeldBy): boolean {
  return held.fakeClock !== true && held.behind === undefined && !RUNS.test(held.owner)
}

function addWays(graph: HeapGraph, first: Step, ways: Set<number>): void {
  for (let step: Step | null = first; step; step = step.next) {
    if (graph.nameCode(step.node) !== CONTEXT_NAME) ways.add(step.node)
    if (graph.nameCode(step.to) !== CONTEXT_NAME) ways.add(step.to)
  }
}

/** Objects of Node's that stand for a part of the system. */
const SYSTEM =
  /^(?:ChildProcess|Worker|(?:TLS)?Socket|Server|TLSServer|Http2\w+|FSWatcher|StatWatcher|Timeout|TaskDeadline|FakeClock|globalThis|module loader|process)$/

/**
 * The child process or stream that an object of the user's listens to, when the promise is kept in that object: a class
 * that wraps a child has the resolve function in a field, and a listener on the child that captured the object.
 */
function systemBehind(graph: HeapGraph, node: number): HeldBy['behind'] {
  const found = new HolderWalk(graph, true, MAX_BEHIND).run([node])
  for (const { owner, path, event, id } of found) {
    if (/^(?:ChildProcess|Socket)$/.test(owner) && event !== undefined && id !== undefined)
      return { owner, path, event, id }
  }
  return undefined
}

/** Nodes to look at now, and those that are a step further away. */
interface Steps {
  level: number[]
  next: number[]
}

/** What `Promise.withResolvers` answers with, or the same by hand: who calls its function is wanted, not who keeps it. */
function isDeferred(graph: HeapGraph, node: number): boolean {
  return graph.isObject(node) && graph.name(node) === 'Object' && carriesResolve(graph, node)
}

/** Also a promise that has its own function as a property: whoever keeps it can settle it. */
function carriesResolve(graph: HeapGraph, node: number): boolean {
  const resolve = graph.edge(node, 'resolve')
  return resolve >= 0 && graph.isClosure(resolve) && isBuiltin(graph, resolve)
}

class HolderWalk {
  readonly #graph: HeapGraph
  /** Also objects that merely keep the promise itself, which cannot settle it. */
  readonly #keepers: boolean
  readonly #from = new Map<number, Step | null>()
  readonly #candidates: Candidate[] = []

  readonly #most: number
  /** The walk starts at an object and not at a promise: variables that hold it are passed through. */
  readonly #through: boolean

  readonly #suspended: Set<number> | undefined

  constructor(graph: HeapGraph, keepers: boolean, most = MAX_VISITS, suspended?: Set<number>) {
    this.#graph = graph
    this.#suspended = suspended
    this.#keepers = keepers
    this.#most = most
    this.#through = most !== MAX_VISITS
  }

  run(promises: readonly number[]): Candidate[] {
    let level: number[] = []
    for (const promise of promises) {
      this.#from.set(promise, null)
      level.push(promise)
    }
    // A listener for errors that stands beside another one comes two levels later, so that the awaited event is named: the
    // one calls `reject` itself, the other a function that calls `resolve`.
    let late: [node: number, edge: number][] = []
    let soon: typeof late = []
    for (let depth = 0; depth < MAX_DEPTH && level.length + late.length + soon.length > 0; depth++) {
      const next: number[] = []
      const later: typeof late = []
      // The list grows while it is walked: what belongs to promises themselves costs no step.
      const steps = { level, next }
      for (const node of level) {
        for (const edge of this.#graph.incoming(node)) {
          if (this.#from.size >= this.#most) return this.#candidates
          if (this.#isErrorListener(edge)) later.push([node, edge])
          else this.#step(node, edge, steps)
        }
      }
      for (const [node, edge] of late) this.#step(node, edge, { level: next, next })
      late = soon
      soon = later
      if (this.#candidates.filter((candidate) => candidate.rank === 0).length >= MAX_HELD_BY) break
      level = next
    }
    return this.#candidates
  }

  #step(node: number, edge: number, steps: Steps): void {
    const graph = this.#graph
    const type = graph.edgeType(edge)
    const label = graph.edgeCode(edge)
    if (type === graph.kind.weak || type === graph.kind.shortcut) return
    if (type === graph.kind.internal && MEANINGLESS.has(label)) return
    if (label === PROTO) return
    const source = graph.source(edge)
    if (this.#from.has(source)) return
    const sourceType = graph.type(source)
    if (sourceType === 'synthetic' || sourceType === 'code' || sourceType === 'object shape') return
    if (type === graph.kind.property && /^(constructor|prototype)$/.test(graph.label(edge))) return
    const step: Step = { node: source, edge, to: node, next: this.#from.get(node) ?? null }
    const name = graph.name(source)
    if (name === 'system / NativeContext' && graph.label(edge) === WAIT_ASYNC)
      this.#add(step, 'Atomics.waitAsync', 0, 'Atomics.waitAsync')
    if (name === 'system / ScopeInfo' || name === 'system / NativeContext' || name === 'system / WeakCell') return

    if (graph.nameCode(node) === PROMISE && this.#isKeeping(source, type, name) && !carriesResolve(graph, node)) {
      if (!this.#keepers && !LOADER.has(name)) return
    }
    if (graph.nameCode(source) === CONTEXT_NAME) {
      this.#context(source, node, step, type, steps)
      return
    }
    if (graph.isObject(source)) {
      if (isGenerator(graph, source)) return
      // Errors and the stacks that we keep hold functions, and settle nothing.
      if (/Error$|^RawStack$/.test(name)) return
      if (this.#named(source, name, step)) return
    } else if (graph.isClosure(source)) {
      if (type === graph.kind.property && this.#static(source, name, step)) return
    } else if (sourceType === 'array' && this.#isRegisters(source, node)) {
      return
    } else if (sourceType === 'native' && /^Node \//.test(name)) {
      this.#add(step, name.slice('Node / '.length), 0)
      return
    }
    this.#from.set(source, step)
    const free = OF_PROMISES.has(graph.nameCode(source)) || (graph.isClosure(source) && isBuiltin(graph, source))
    ;(free ? steps.level : steps.next).push(source)
  }

  #isErrorListener(edge: number): boolean {
    const graph = this.#graph
    return graph.edgeType(edge) === graph.kind.property && graph.label(edge) === 'error'
  }

  /** Does this edge merely keep the promise, without being able to settle it? */
  #isKeeping(source: number, type: number, name: string): boolean {
    const graph = this.#graph
    if (type === graph.kind.hidden || type === graph.kind.internal) {
      return (
        graph.isObject(source) &&
        graph.nameCode(source) !== PROMISE &&
        name !== 'system / Context' &&
        !isNativeWrap(name)
      )
    }
    return type === graph.kind.context || type === graph.kind.property || type === graph.kind.element
  }

  #context(context: number, node: number, step: Step, type: number, steps: Steps): void {
    const graph = this.#graph
    // The context of an await leads to the function that waits, not to what it waits for.
    const extension = graph.internal(context, EXTENSION)
    if (extension >= 0 && isGenerator(graph, extension)) return
    const wide = isTopLevel(graph, context) || variableCount(graph, context) > MODULE_SLOTS
    const script = this.#scriptOf(context)
    if (script.startsWith('node:')) {
      // Variables of Node's own functions say nothing to the reader; some of its parts are told by their script.
      const part = NODE_PARTS.find(([prefix]) => script.startsWith(prefix))
      if (part) {
        this.#add(step, part[1], 0, part[1])
        return
      }
    } else if (type === graph.kind.context || (type === graph.kind.hidden && script !== '')) {
      const rank = graph.isClosure(node) || graph.nameCode(node) === PROMISE || isDeferred(graph, node) ? 2 : 1
      this.#add(step, 'variable', rank)
      if (rank === 1 && !this.#through) return
    }
    if (wide) return
    this.#from.set(context, step)
    ;(script === '' ? steps.level : steps.next).push(context)
  }

  /** Script of the functions that were made in this context, '' when none is left. */
  #scriptOf(context: number): string {
    const graph = this.#graph
    let looked = 0
    for (const edge of graph.incoming(context)) {
      if (graph.edgeCode(edge) !== CONTEXT) continue
      const source = graph.source(edge)
      if (graph.isClosure(source)) return scriptOf(graph, source)
      if (++looked > MODULE_SLOTS) break
    }
    return ''
  }

  #named(source: number, name: string, step: Step): boolean {
    const graph = this.#graph
    if (isFakeClock(graph, source)) {
      this.#add(step, 'FakeClock', 0)
      return true
    }
    if (name.startsWith('global')) {
      this.#add(step, 'globalThis', 0)
      return true
    }
    if (PLAIN.has(name) || name === '' || name.startsWith('system / ')) return false
    this.#add(step, LOADER.has(name) ? 'module loader' : name, 0)
    return true
  }

  /** A static field: a property of a class or of a function with a name. */
  #static(source: number, name: string, step: Step): boolean {
    const graph = this.#graph
    const label = graph.label(step.edge)
    if (name === '' || name.startsWith('bound ') || label === 'listener') return false
    if (graph.isClosure(step.to)) return false
    this.#add(step, graph.name(source), 0)
    return true
  }

  /** Are these the locals of a suspended function? It is noted, unless it merely keeps a promise. */
  #isRegisters(array: number, local: number): boolean {
    const graph = this.#graph
    for (const edge of graph.incoming(array)) {
      if (graph.edgeCode(edge) !== REGISTERS) continue
      if (graph.nameCode(local) !== PROMISE || carriesResolve(graph, local)) this.#suspended?.add(graph.source(edge))
      return true
    }
    return false
  }

  #add(step: Step, owner: string, rank: number, as?: string): void {
    const graph = this.#graph
    const { path, event } = as === undefined ? renderPath(graph, step, owner) : { path: as }
    const candidate: Candidate = { owner, path, rank, step }
    if (rank === 0 && as === undefined && graph.isObject(step.node)) {
      candidate.id = graph.id(step.node)
      candidate.node = step.node
    }
    if (event !== undefined) candidate.event = event
    for (let at: Step | null = step; at; at = at.next) {
      if (isFakeClock(graph, at.node) || isFakeTimer(graph, at.node) || clockParts(graph).has(at.node))
        candidate.fakeClock = true
    }
    this.#candidates.push(candidate)
  }
}

const clocks = new WeakMap<HeapGraph, ReadonlySet<number>>()

function clockParts(graph: HeapGraph): ReadonlySet<number> {
  const known = clocks.get(graph)
  if (known !== undefined) return known
  const parts = replacedTimers(graph)
  clocks.set(graph, parts)
  return parts
}

const MEANINGLESS = new Set([FUNCTION, SHARED, MAP, ELEMENTS, PROPERTIES, RECEIVER, REGISTERS])

function isNativeWrap(name: string): boolean {
  return /Wrap$|^FSReq|Promise$/.test(name)
}
