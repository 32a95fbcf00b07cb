import { ProbeError } from '../../errors.ts'
import { type NumberScan, newScan, scanNumbers } from './numbers.ts'
import { StringTable } from './strings.ts'

/** A heap snapshot in columns; a node is its row number, an edge its position. */
export interface HeapTables {
  nodeTypes: readonly string[]
  edgeTypes: readonly string[]
  nodeCount: number
  edgeCount: number
  nodeType: Uint8Array
  /** Index into `strings`. */
  nodeName: Uint32Array
  nodeId: Uint32Array
  /** First edge of each node; one entry more than nodes. */
  edgeStart: Uint32Array
  edgeType: Uint8Array
  /** Index into `strings`, or a number for edges of type `element` and `hidden`. */
  edgeName: Uint32Array
  edgeTo: Uint32Array
  /** Rows of (node, script id, line, column), line and column from 0. */
  locations: Uint32Array
  strings: StringTable
}

export interface ParseLimits {
  /** Most nodes to accept. Default: 6 million (about 400 MB of tables). */
  maxNodes?: number
}

const DEFAULT_MAX_NODES = 6_000_000
const MAX_EDGES_PER_NODE = 12
const MAX_HEADER_BYTES = 1 << 20
const MAX_STRING_BYTES = 1 << 28
/** Rows to make room for before any has come: what a header promises may not be there. */
const FIRST_NODES = 1 << 18
const FIRST_EDGES = 1 << 20
const BEGIN = Buffer.from('{"snapshot":')
const MARKER = Buffer.from('"nodes":[')
const OPEN = 91
const CLOSE = 93
const CLOSE_BRACE = 125

type Section = 'header' | 'between' | 'nodes' | 'edges' | 'locations' | 'strings' | 'skipped' | 'done'

interface Shape {
  nodeTypes: string[]
  edgeTypes: string[]
  nodeFields: { width: number; type: number; name: number; id: number; edgeCount: number }
  edgeFields: { width: number; type: number; name: number; to: number }
  locationWidth: number
}

/**
 * Reads a V8 heap snapshot (`.heapsnapshot`, the chunks of `HeapProfiler.addHeapSnapshotChunk` or of
 * `v8.getHeapSnapshot()`) piece by piece into columns, without ever holding the document.
 *
 * Throws {@link ProbeError} on input that is not a snapshot, is cut off or is larger than the limit.
 */
export class SnapshotParser {
  readonly #maxNodes: number
  #section: Section = 'header'
  #header = Buffer.alloc(1 << 12)
  #headerLength = 0
  #key = ''
  #depth = 0
  #width = 1
  readonly #scan: NumberScan = newScan()
  #shape: Shape | null = null
  #nodes = 0
  #nodesPromised = 0
  #edges = 0
  #edgesExpected = 0
  #locations = 0
  #nodeType = new Uint8Array(0)
  #nodeName = new Uint32Array(0)
  #nodeId = new Uint32Array(0)
  #edgeStart = new Uint32Array(1)
  #edgeType = new Uint8Array(0)
  #edgeName = new Uint32Array(0)
  #edgeTo = new Uint32Array(0)
  #locationRows = new Uint32Array(0)
  readonly #strings = new StringTable()

  constructor(limits: ParseLimits = {}) {
    this.#maxNodes = limits.maxNodes ?? DEFAULT_MAX_NODES
  }

  /** Takes the next piece; pieces may be cut anywhere. */
  write(chunk: string | Uint8Array): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk
    let at = 0
    while (at < bytes.length) {
      switch (this.#section) {
        case 'header':
          at = this.#takeHeader(bytes)
          break
        case 'between':
          at = this.#takeKey(bytes, at)
          break
        case 'nodes':
        case 'edges':
        case 'locations':
          at = this.#takeNumbers(bytes, at)
          break
        case 'strings':
          at = this.#takeStrings(bytes, at)
          break
        case 'skipped':
          at = this.#skip(bytes, at)
          break
        case 'done':
          return
      }
    }
  }

  /** The finished tables. */
  end(): HeapTables {
    const shape = this.#shape
    if (this.#section !== 'done' || !shape) {
      const where = this.#section === 'header' ? 'before its tables' : `in its ${this.#key || this.#section} table`
      throw new ProbeError(`the heap snapshot ends early, ${where}`)
    }
    if (this.#edges !== this.#edgesExpected) {
      throw new ProbeError(`the heap snapshot is damaged: ${this.#edges} edges instead of ${this.#edgesExpected}`)
    }
    return {
      nodeTypes: shape.nodeTypes,
      edgeTypes: shape.edgeTypes,
      nodeCount: this.#nodes,
      edgeCount: this.#edges,
      nodeType: this.#nodeType.subarray(0, this.#nodes),
      nodeName: this.#nodeName.subarray(0, this.#nodes),
      nodeId: this.#nodeId.subarray(0, this.#nodes),
      edgeStart: this.#edgeStart.subarray(0, this.#nodes + 1),
      edgeType: this.#edgeType.subarray(0, this.#edges),
      edgeName: this.#edgeName.subarray(0, this.#edges),
      edgeTo: this.#edgeTo.subarray(0, this.#edges),
      locations: this.#locationRows.subarray(0, this.#locations),
      strings: this.#strings,
    }
  }

  #takeHeader(bytes: Uint8Array): number {
    const before = this.#headerLength
    const taken = bytes.subarray(0, MAX_HEADER_BYTES - before)
    const length = before + taken.length
    if (length > this.#header.length) this.#header = Buffer.concat([this.#header.subarray(0, before)], length * 2)
    this.#header.set(taken, before)
    this.#headerLength = length
    const header = this.#header.subarray(0, length)
    // Only what is new is searched: the pieces may be small.
    const marker = header.indexOf(MARKER, Math.max(0, before - MARKER.length))
    const begun = Math.min(length, BEGIN.length)
    if (marker < 0) {
      if (length === MAX_HEADER_BYTES || header.compare(BEGIN, 0, begun, 0, begun) !== 0) {
        throw new ProbeError('this is not a heap snapshot: its header does not lead to a table of nodes')
      }
      return bytes.length
    }
    const shape = readShape(header.toString('latin1', 0, marker))
    this.#shape = shape.shape
    this.#nodesPromised = this.#checkNodes(shape.nodeCount)
    this.#reserveNodes(Math.min(Math.max(shape.nodeCount, 1 << 10), FIRST_NODES))
    this.#reserveEdges(Math.min(Math.max(shape.edgeCount, 1 << 12), FIRST_EDGES))
    this.#start('nodes', shape.shape.nodeFields.width)
    this.#header = Buffer.alloc(0)
    return marker + MARKER.length - before
  }

  #takeKey(bytes: Uint8Array, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (byte === OPEN) {
        const name = this.#key.replace(/[^a-z_]/g, '')
        this.#key = name
        const shape = this.#shape!
        if (name === 'edges') this.#start('edges', shape.edgeFields.width)
        else if (name === 'locations' && shape.locationWidth === 4) this.#start('locations', 4)
        else if (name === 'strings') this.#section = 'strings'
        else {
          this.#section = 'skipped'
          this.#depth = 1
        }
        return at + 1
      }
      if (byte === CLOSE_BRACE) throw new ProbeError('the heap snapshot is damaged: it has no table of strings')
      this.#key += String.fromCharCode(byte)
      if (this.#key.length > 256) throw new ProbeError('the heap snapshot is damaged between its tables')
    }
    return bytes.length
  }

  #start(section: 'nodes' | 'edges' | 'locations', width: number): void {
    this.#section = section
    this.#key = section
    this.#width = width
    this.#scan.filled = 0
    this.#scan.sign = 1
  }

  #takeNumbers(bytes: Uint8Array, from: number): number {
    const scan = this.#scan
    const blockEnd = scan.block.length - (scan.block.length % this.#width)
    let at = from
    while (at < bytes.length) {
      at = scanNumbers(bytes, at, scan, blockEnd)
      const { filled, stop } = scan
      if (stop === 'end') break
      if (stop === 'garbage') {
        throw new ProbeError(`the heap snapshot is damaged: no number in its ${this.#key} table`)
      }
      if (filled % this.#width !== 0) {
        throw new ProbeError(`the heap snapshot is damaged: its ${this.#key} table ends in mid-row`)
      }
      this.#takeRows(filled)
      scan.filled = 0
      if (stop === 'closed') {
        this.#section = 'between'
        this.#key = ''
        break
      }
    }
    return at
  }

  #takeRows(filled: number): void {
    if (this.#section === 'edges') this.#takeEdges(filled)
    else if (this.#section === 'nodes') this.#takeNodes(filled)
    else this.#takeLocations(filled)
  }

  #takeNodes(filled: number): void {
    const { width, type, name, id, edgeCount } = this.#shape!.nodeFields
    const block = this.#scan.block
    let node = this.#nodes
    const end = this.#checkNodes(node + filled / width)
    if (end > this.#nodeId.length) {
      const promised = this.#nodesPromised
      this.#reserveNodes(promised > end ? Math.min(end * 2, promised) : end * 2)
    }
    const types = this.#nodeType
    const names = this.#nodeName
    const ids = this.#nodeId
    const starts = this.#edgeStart
    let edges = this.#edgesExpected
    for (let row = 0; row < filled; row += width) {
      types[node] = block[row + type]!
      names[node] = block[row + name]!
      ids[node] = block[row + id]!
      edges += block[row + edgeCount]!
      starts[++node] = edges
    }
    if (edges > this.#maxNodes * MAX_EDGES_PER_NODE) throw tooLarge('edges', edges)
    this.#nodes = node
    this.#edgesExpected = edges
  }

  #takeEdges(filled: number): void {
    const { width, type, name, to } = this.#shape!.edgeFields
    const nodeWidth = this.#shape!.nodeFields.width
    const block = this.#scan.block
    let edge = this.#edges
    const end = edge + filled / width
    if (end > this.#edgesExpected) throw new ProbeError('the heap snapshot is damaged: more edges than its nodes have')
    if (end > this.#edgeTo.length) this.#reserveEdges(Math.min(end * 2, this.#edgesExpected))
    const types = this.#edgeType
    const names = this.#edgeName
    const targets = this.#edgeTo
    const nodes = this.#nodes
    for (let row = 0; row < filled; row += width, edge++) {
      const target = block[row + to]! / nodeWidth
      if (target >= nodes || target !== Math.floor(target)) {
        throw new ProbeError('the heap snapshot is damaged: an edge leads nowhere')
      }
      types[edge] = block[row + type]!
      names[edge] = block[row + name]!
      targets[edge] = target
    }
    this.#edges = edge
  }

  #takeLocations(filled: number): void {
    const nodeWidth = this.#shape!.nodeFields.width
    if (this.#locations + filled > this.#nodes * 4) {
      throw new ProbeError('the heap snapshot is damaged: more locations than nodes')
    }
    if (this.#locations + filled > this.#locationRows.length) {
      this.#locationRows = grown(this.#locationRows, Uint32Array, (this.#locations + filled) * 2)
    }
    const rows = this.#locationRows
    rows.set(this.#scan.block.subarray(0, filled), this.#locations)
    for (let at = this.#locations; at < this.#locations + filled; at += 4) rows[at] = rows[at]! / nodeWidth
    this.#locations += filled
  }

  #takeStrings(bytes: Uint8Array, from: number): number {
    const next = this.#strings.take(bytes, from)
    if (this.#strings.bytes > MAX_STRING_BYTES)
      throw tooLarge('bytes of strings', this.#strings.bytes, MAX_STRING_BYTES)
    if (next === -2) throw new ProbeError('the heap snapshot is damaged in its strings table')
    if (next < 0) return bytes.length
    this.#section = 'done'
    return next
  }

  #skip(bytes: Uint8Array, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      if (bytes[at] === OPEN) this.#depth++
      else if (bytes[at] === CLOSE && --this.#depth === 0) {
        this.#section = 'between'
        this.#key = ''
        return at + 1
      }
    }
    return bytes.length
  }

  #checkNodes(count: number): number {
    if (count > this.#maxNodes) throw tooLarge('nodes', count, this.#maxNodes)
    return count
  }

  #reserveNodes(count: number): void {
    this.#nodeType = grown(this.#nodeType, Uint8Array, count)
    this.#nodeName = grown(this.#nodeName, Uint32Array, count)
    this.#nodeId = grown(this.#nodeId, Uint32Array, count)
    this.#edgeStart = grown(this.#edgeStart, Uint32Array, count + 1)
  }

  #reserveEdges(count: number): void {
    this.#edgeType = grown(this.#edgeType, Uint8Array, count)
    this.#edgeName = grown(this.#edgeName, Uint32Array, count)
    this.#edgeTo = grown(this.#edgeTo, Uint32Array, count)
  }
}

function tooLarge(what: string, count: number, limit?: number): ProbeError {
  const bound = limit === undefined ? '' : ` (limit ${limit})`
  return new ProbeError(`the heap is too large to look at: its snapshot has at least ${count} ${what}${bound}`)
}

function grown<T extends Uint8Array | Uint32Array>(old: T, make: new (length: number) => T, length: number): T {
  if (length <= old.length) return old
  const larger = new make(length)
  larger.set(old)
  return larger
}

function readShape(header: string): { shape: Shape; nodeCount: number; edgeCount: number } {
  try {
    const parsed: { snapshot: Record<string, unknown> } = JSON.parse(`${header.replace(/,\s*$/, '')}}`)
    const meta = parsed.snapshot.meta as Record<string, unknown[]>
    const nodeFields = meta.node_fields as string[]
    const edgeFields = meta.edge_fields as string[]
    const field = (fields: string[], name: string): number => {
      const place = fields.indexOf(name)
      if (place < 0 || fields.length > 32) throw new Error(`no field ${name}`)
      return place
    }
    return {
      shape: {
        nodeTypes: (meta.node_types![0] as string[]).map(String),
        edgeTypes: (meta.edge_types![0] as string[]).map(String),
        nodeFields: {
          width: nodeFields.length,
          type: field(nodeFields, 'type'),
          name: field(nodeFields, 'name'),
          id: field(nodeFields, 'id'),
          edgeCount: field(nodeFields, 'edge_count'),
        },
        edgeFields: {
          width: edgeFields.length,
          type: field(edgeFields, 'type'),
          name: field(edgeFields, 'name_or_index'),
          to: field(edgeFields, 'to_node'),
        },
        locationWidth: Array.isArray(meta.location_fields) ? meta.location_fields.length : 0,
      },
      nodeCount: count(parsed.snapshot.node_count),
      edgeCount: count(parsed.snapshot.edge_count),
    }
  } catch (error) {
    throw new ProbeError('this is not a heap snapshot: its header cannot be read', { cause: error })
  }
}

function count(value: unknown): number {
  return typeof value === 'number' && value >= 0 && Number.isSafeInteger(value) ? value : 0
}
