import v8 from 'node:v8'
import { describe, expect, test } from 'vitest'
import { isHarrowError } from '../../src/errors.ts'
import { HeapGraph } from '../../src/inspect/heap/graph.ts'
import { type ParseLimits, SnapshotParser } from '../../src/inspect/heap/parse.ts'

const kept = { 'clé "à" \\ 😀': ['one', 'two'], joined: `${'left-'.repeat(5)}${process.pid}` }

function takeBytes(): Buffer {
  const stream = v8.getHeapSnapshot()
  const chunks: Buffer[] = []
  for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function parse(pieces: Iterable<string | Uint8Array>, limits?: ParseLimits): HeapGraph {
  const parser = new SnapshotParser(limits)
  for (const piece of pieces) parser.write(piece)
  return new HeapGraph(parser.end())
}

const meta = {
  node_fields: ['type', 'name', 'id', 'self_size', 'edge_count'],
  node_types: [['object', 'concatenated string', 'string']],
  edge_fields: ['type', 'name_or_index', 'to_node'],
  edge_types: [['context', 'element', 'property', 'internal', 'hidden', 'shortcut', 'weak']],
  location_fields: ['object_index', 'script_id', 'line', 'column'],
}

/** A snapshot of three nodes, written as V8 writes them. */
function small(parts: { nodes?: string; edges?: string; tail?: string; count?: number } = {}): string {
  const header = JSON.stringify({ snapshot: { meta, node_count: parts.count ?? 3, edge_count: 3 } }).slice(0, -1)
  const nodes = parts.nodes ?? '0,0,1,16,1\n,1,1,3,16,2\n,2,2,5,16,0\n'
  const edges = parts.edges ?? '2,3,5\n,3,4,10\n,3,5,10\n'
  const tail =
    parts.tail ??
    '"locations":[0,7,-1,0,5,7,3,4],\n"strings":["Root",\n"(concatenated string)","ab","it","first","second"]}'
  return `${header},\n"nodes":[${nodes}],\n"edges":[${edges}],\n"trace_function_infos":[],\n"trace_tree":[1,[2,[]]],\n"samples":[],\n${tail}`
}

function* cut(text: string, size: number): Generator<string> {
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size)
}

describe('a real snapshot', () => {
  const bytes = takeBytes()
  const document: {
    nodes: number[]
    edges: number[]
    strings: string[]
    snapshot: { meta: { node_fields: string[] } }
  } = JSON.parse(bytes.toString('utf8'))

  test('reads the same in one piece as JSON.parse does', () => {
    const { tables } = parse([bytes])
    const width = document.snapshot.meta.node_fields.length
    expect(tables.nodeCount).toBe(document.nodes.length / width)
    expect(tables.edgeCount).toBe(document.edges.length / 3)
    expect(tables.strings.size).toBe(document.strings.length)
    expect(Array.from({ length: tables.strings.size }, (_, index) => tables.strings.get(index))).toEqual(
      document.strings,
    )
    expect([...tables.nodeId].every((id, node) => id === document.nodes[node * width + 2])).toBe(true)
    expect([...tables.edgeTo].every((to, edge) => to * width === document.edges[edge * 3 + 2])).toBe(true)
    expect(Object.keys(kept)).toHaveLength(2)
  })

  test('reads the same in pieces that are cut anywhere', () => {
    const whole = parse([bytes]).tables
    const pieces: Uint8Array[] = []
    for (let at = 0; at < bytes.length; at += 9973) pieces.push(bytes.subarray(at, at + 9973))
    const cutUp = parse(pieces).tables
    expect(Buffer.compare(Buffer.from(cutUp.edgeTo.buffer), Buffer.from(whole.edgeTo.buffer))).toBe(0)
    expect(cutUp.strings.get(cutUp.strings.size - 1)).toBe(document.strings.at(-1))
  })

  test('ends in an error wherever it is cut off', () => {
    for (const share of [0, 0.0001, 0.01, 0.1, 0.5, 0.8, 0.95, 0.9999]) {
      expect(() => parse([bytes.subarray(0, Math.floor(bytes.length * share))])).toThrow(/ends early/)
    }
  })

  test('knows the source of every edge', () => {
    const graph = parse([bytes])
    for (let node = 0; node < graph.nodeCount; node += 997) {
      for (let edge = graph.firstEdge(node); edge < graph.endEdge(node); edge++) {
        expect(graph.source(edge)).toBe(node)
        expect(graph.incoming(graph.target(edge))).toContain(edge)
      }
    }
  })
})

describe('a snapshot by hand', () => {
  test('reads the same byte by byte', () => {
    const graph = parse(cut(small(), 1))
    expect(graph.nodeCount).toBe(3)
    expect(graph.edge(0, 'it')).toBe(1)
    expect(graph.flat(1)).toBe('abab')
    expect(graph.location(1)).toEqual({ line: 3, column: 4 })
    expect(graph.location(0)).toBeNull()
  })

  test('ends a concatenated string that contains itself', () => {
    const text = parse([small({ edges: '2,3,5,3,4,10,3,5,5' })]).flat(1)
    expect(text).toMatch(/^(ab)+$/)
    expect(text.length).toBeLessThanOrEqual(4096)
  })

  test.each([
    ['nothing at all', ''],
    ['text', 'Error: out of memory'],
    ['another JSON', '{"nodes":[1,2,3]}'],
    ['a header without fields', '{"snapshot":{"meta":{}},"nodes":[]}'],
    ['a table cut in mid-row', small({ nodes: '0,0,1,16,1\n,1,1' })],
    ['letters among the numbers', small({ nodes: '0,0,x,16,1' })],
    ['an edge to nowhere', small({ edges: '2,3,5,3,4,10,3,5,500' })],
    ['an edge into the middle of a row', small({ edges: '2,3,5,3,4,10,3,5,7' })],
    ['more edges than the nodes have', small({ edges: '2,3,5,3,4,10,3,5,5,3,5,5' })],
    ['fewer edges than the nodes have', small({ edges: '2,3,5' })],
    ['no strings', small({ tail: '"locations":[]}' })],
    ['damage among the strings', small({ tail: '"strings":["Root",nonsense]}' })],
    ['noise between the tables', small({ tail: 'x'.repeat(300) })],
    ['no end', small().slice(0, -3)],
  ])('%s is an error', (_what, text) => {
    let error: unknown
    try {
      parse([text])
    } catch (thrown) {
      error = thrown
    }
    expect(isHarrowError(error) && error.code).toBe('HARROW_PROBE')
    expect(String(error)).toMatch(/snapshot/)
  })

  test('more nodes than the limit are refused, announced or not', () => {
    expect(() => parse([small()], { maxNodes: 2 })).toThrow(/too large to look at.*\(limit 2\)/)
    expect(() => parse([small({ count: 0 })], { maxNodes: 2 })).toThrow(/too large to look at.*\(limit 2\)/)
  })
})
