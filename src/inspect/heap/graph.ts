import type { HeapTables } from './parse.ts'

/**
 * Names that V8 gives to its own edges and objects and that the walks compare on every step. They are compared by
 * number: {@link HeapGraph.edgeCode} and {@link HeapGraph.nameCode} answer with the place in this list plus 1.
 */
const NAMES = [
  'parameters_and_registers',
  'function',
  'context',
  'extension',
  'previous',
  'reactions_or_result',
  'Promise',
  'system / PromiseReaction',
  'system / PromiseCapability',
  'system / AsyncGeneratorRequest',
  'system / Context',
  'system / SourceTextModule',
  'shared',
  'script',
  'name',
  'first',
  'second',
  'map',
  '__proto__',
  'elements',
  'properties',
  'receiver',
  'table',
  'scope_info',
  'system / NativeContext',
] as const

/** Code of one of the names that the walks compare. */
export function code(name: (typeof NAMES)[number]): number {
  return NAMES.indexOf(name) + 1
}

const FIRST = code('first')
const SECOND = code('second')
const MAX_FLAT = 4096
const MAX_FLAT_PARTS = 256

/** A heap snapshot as a graph. Nodes are row numbers, not heap ids; edges are positions in the edge table. */
export class HeapGraph {
  readonly tables: HeapTables
  readonly nodeCount: number
  readonly #codes: Uint8Array
  /** Edge types by number, for comparing without strings. */
  readonly kind: {
    context: number
    element: number
    property: number
    internal: number
    hidden: number
    shortcut: number
    weak: number
  }
  readonly objectType: number
  readonly closureType: number
  readonly stringType: number
  #incomingStart: Uint32Array | null = null
  #incoming: Uint32Array | null = null
  #locationOf: Map<number, number> | null = null

  constructor(tables: HeapTables) {
    this.tables = tables
    this.nodeCount = tables.nodeCount
    this.#codes = tables.strings.codes(NAMES)
    const edge = (name: string): number => tables.edgeTypes.indexOf(name)
    this.kind = {
      context: edge('context'),
      element: edge('element'),
      property: edge('property'),
      internal: edge('internal'),
      hidden: edge('hidden'),
      shortcut: edge('shortcut'),
      weak: edge('weak'),
    }
    this.objectType = tables.nodeTypes.indexOf('object')
    this.closureType = tables.nodeTypes.indexOf('closure')
    this.stringType = tables.nodeTypes.indexOf('string')
  }

  /** `object`, `closure`, `array`, `string`, `hidden`, `native`, `synthetic`, ... */
  type(node: number): string {
    return this.tables.nodeTypes[this.tables.nodeType[node]!] ?? ''
  }

  isClosure(node: number): boolean {
    return this.tables.nodeType[node] === this.closureType
  }

  isObject(node: number): boolean {
    return this.tables.nodeType[node] === this.objectType
  }

  /** Class name of an object, name of a closure, text of a string. */
  name(node: number): string {
    return this.tables.strings.get(this.tables.nodeName[node]!)
  }

  nameCode(node: number): number {
    return this.#codes[this.tables.nodeName[node]!] ?? 0
  }

  /** Heap object id, the same that the inspector uses. */
  id(node: number): number {
    return this.tables.nodeId[node]!
  }

  firstEdge(node: number): number {
    return this.tables.edgeStart[node]!
  }

  /** One behind the last edge. */
  endEdge(node: number): number {
    return this.tables.edgeStart[node + 1]!
  }

  target(edge: number): number {
    return this.tables.edgeTo[edge]!
  }

  edgeType(edge: number): number {
    return this.tables.edgeType[edge]!
  }

  /** Code of the edge's name, 0 for a name that is not in the list and for numbered edges. */
  edgeCode(edge: number): number {
    if (this.isNumbered(edge)) return 0
    return this.#codes[this.tables.edgeName[edge]!] ?? 0
  }

  isNumbered(edge: number): boolean {
    const type = this.tables.edgeType[edge]
    return type === this.kind.element || type === this.kind.hidden
  }

  /** Name of an edge as text; the number for elements and hidden fields. */
  label(edge: number): string {
    const name = this.tables.edgeName[edge]!
    return this.isNumbered(edge) ? String(name) : this.tables.strings.get(name)
  }

  /** Index of a numbered edge. */
  number(edge: number): number {
    return this.tables.edgeName[edge]!
  }

  /** Node at the end of the first edge with this name (a code or a text), -1 when there is none. */
  edge(node: number, name: number | string): number {
    const end = this.endEdge(node)
    for (let edge = this.firstEdge(node); edge < end; edge++) {
      if (
        typeof name === 'number' ? this.edgeCode(edge) === name : !this.isNumbered(edge) && this.label(edge) === name
      ) {
        return this.target(edge)
      }
    }
    return -1
  }

  /** Node of the first edge of type `internal` with this code; unlike {@link edge} never a property of the same name. */
  internal(node: number, name: number): number {
    const end = this.endEdge(node)
    for (let edge = this.firstEdge(node); edge < end; edge++) {
      if (this.tables.edgeType[edge] === this.kind.internal && this.edgeCode(edge) === name) return this.target(edge)
    }
    return -1
  }

  /** Text of a string node, concatenated strings put together; cut at 4096 characters. */
  flat(node: number): string {
    const type = this.type(node)
    if (type === 'sliced string') return ''
    if (type !== 'concatenated string') return this.name(node)
    let text = ''
    const stack = [node]
    for (let parts = 0; stack.length > 0 && parts < MAX_FLAT_PARTS && text.length < MAX_FLAT; parts++) {
      const part = stack.pop()!
      if (this.type(part) !== 'concatenated string') {
        text += this.name(part)
        continue
      }
      const second = this.internal(part, SECOND)
      const first = this.internal(part, FIRST)
      if (second >= 0) stack.push(second)
      if (first >= 0) stack.push(first)
    }
    return text.slice(0, MAX_FLAT)
  }

  /** Where a closure or generator is defined, line and column from 0; null when the snapshot does not say or says -1. */
  location(node: number): { line: number; column: number } | null {
    const rows = this.tables.locations
    if (!this.#locationOf) {
      this.#locationOf = new Map()
      for (let at = 0; at + 3 < rows.length; at += 4) this.#locationOf.set(rows[at]!, at)
    }
    const at = this.#locationOf.get(node)
    if (at === undefined) return null
    const line = rows[at + 2]! | 0
    const column = rows[at + 3]! | 0
    return line < 0 || column < 0 ? null : { line, column }
  }

  /** Positions of the edges that lead to a node, weak ones included. Builds the index at its first call. */
  incoming(node: number): Uint32Array {
    if (!this.#incoming || !this.#incomingStart) {
      const { edgeTo, edgeCount } = this.tables
      const start = new Uint32Array(this.nodeCount + 2)
      for (let edge = 0; edge < edgeCount; edge++) start[edgeTo[edge]! + 2]!++
      for (let at = 2; at < start.length; at++) start[at]! += start[at - 1]!
      const incoming = new Uint32Array(edgeCount)
      for (let edge = 0; edge < edgeCount; edge++) incoming[start[edgeTo[edge]! + 1]!++] = edge
      this.#incoming = incoming
      this.#incomingStart = start
    }
    return this.#incoming.subarray(this.#incomingStart[node]!, this.#incomingStart[node + 1]!)
  }

  /** The node that an edge starts from. Searched for, because a column of sources would cost four bytes per edge. */
  source(edge: number): number {
    const start = this.tables.edgeStart
    let low = 0
    let high = this.nodeCount - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (start[middle]! <= edge) low = middle
      else high = middle - 1
    }
    return low
  }
}
