import { describe, expect, test } from 'vitest'
import { ProbeError } from '../../src/errors.ts'
import { SnapshotParser } from '../../src/inspect/heap/parse.ts'
import { fuzzDumps } from './fuzz/fuzz.ts'

/** `npm run fuzz:dump` runs many more. */
const CASES = 200

describe('fuzz', () => {
  test('damaged snapshots, dumps and inspector answers end in facts or an error, never in a crash, a hang or much memory', async () => {
    const { counts, peakMb } = await fuzzDumps({ cases: CASES, seed: 20_261_126, stallMs: 120_000 })
    const sums = Object.values(counts)
    expect(sums.reduce((sum, { taken, refused }) => sum + taken + refused, 0)).toBe(CASES)
    // Damage that is always refused, or never, would show nothing.
    for (const outcome of ['taken', 'refused'] as const) {
      expect(sums.reduce((sum, one) => sum + one[outcome], 0)).toBeGreaterThan(CASES / 6)
    }
    expect(peakMb).toBeLessThan(512)
  }, 300_000)
})

const META =
  '"meta":{"node_fields":["type","name","id","self_size","edge_count"],"node_types":[["hidden","object"]],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element"]],"location_fields":["object_index","script_id","line","column"]}'
const headed = (nodes: number | string, edges: number | string, rest: string): string =>
  `{"snapshot":{${META},"node_count":${nodes},"edge_count":${edges}},${rest}`

const parsed = (text: string, piece = text.length): ReturnType<SnapshotParser['end']> => {
  const parser = new SnapshotParser()
  for (let at = 0; at < text.length; at += piece) parser.write(text.slice(at, at + piece))
  return parser.end()
}

describe('a heap snapshot', () => {
  const whole = headed(2, 1, '"nodes":[1,0,1,0,1,1,1,3,0,0],"edges":[0,0,5],"locations":[],"strings":["a","b"]}')

  test('is read in pieces of any size', () => {
    for (const piece of [1, 2, 7, 100, whole.length]) {
      expect(parsed(whole, piece)).toMatchObject({ nodeCount: 2, edgeCount: 1 })
    }
  })

  test('reserves no memory for what its header promises', () => {
    const before = process.memoryUsage().arrayBuffers
    const parser = new SnapshotParser()
    parser.write(headed(6_000_000, 72_000_000, '"nodes":[1,0,1,0,1'))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20)
  })

  test.each([
    ['a promise of too many nodes', headed(4e9, 1, '"nodes":[]'), 'too large'],
    ['a node with too many edges', headed(1, 1, '"nodes":[1,0,1,0,4000000000]'), 'too large'],
    ['numbers with a sign in their middle', headed(2, 1, '"nodes":[1-2-3-4-5-6-7]'), 'no number'],
    ['a row that is cut', headed(2, 1, '"nodes":[1,0,1]'), 'mid-row'],
    ['an edge to nowhere', whole.replace('[0,0,5]', '[0,0,50]'), 'leads nowhere'],
    ['more edges than its nodes have', whole.replace('[0,0,5]', '[0,0,5,0,0,5]'), 'more edges'],
    ['more locations than nodes', whole.replace('"locations":[]', `"locations":[${'0,'.repeat(99)}0]`), 'locations'],
    ['another order', whole.replace('"edges":[0,0,5],', ''), '0 edges instead of 1'],
    ['no end', whole.slice(0, -5), 'ends early'],
    ['no beginning', whole.slice(5), 'not a heap snapshot'],
    ['a header without end', `{"snapshot":${'['.repeat(2 ** 21)}`, 'not a heap snapshot'],
    ['a header of another kind', `{"snapshot":{"meta":${'['.repeat(50_000)}},"nodes":[`, 'header cannot be read'],
  ])('with %s is refused', (_what, text, message) => {
    expect(() => parsed(text)).toThrow(ProbeError)
    expect(() => parsed(text)).toThrow(message)
  })

  test('with a header that comes byte by byte and leads nowhere is given up at its limit', () => {
    const parser = new SnapshotParser()
    parser.write('{"snapshot":')
    const quote = new Uint8Array([34])
    expect(() => {
      for (let i = 0; i < 2 ** 21; i++) parser.write(quote)
    }).toThrow(ProbeError)
  })
})
