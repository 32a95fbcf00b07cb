/** Real heap snapshots, cut down to what the walks look at, and damage to them. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Random } from './random.ts'

/** A snapshot as V8 writes it, as far as it is changed here. */
export interface Snapshot {
  snapshot: { meta: Record<string, unknown>; node_count: number; edge_count: number }
  nodes: number[]
  edges: number[]
  locations: number[]
  strings: string[]
}

const PATIENT = fileURLToPath(new URL('./patient.ts', import.meta.url))
const EDGE = 3
/** Place of the number of edges in a node. */
const EDGES = 4
const MOST_widthS = 2500

/** The snapshot of `patient.ts`. */
export function realSnapshot(): Snapshot {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--experimental-strip-types', '--no-warnings', PATIENT],
    { encoding: 'utf8', maxBuffer: 2 ** 28, timeout: 60_000 },
  )
  if (status !== 0) throw new Error(`the patient ended with ${status}: ${stderr}`)
  const taken = JSON.parse(stdout) as Snapshot
  const { node_fields, edge_fields } = taken.snapshot.meta as Record<string, string[]>
  if (node_fields?.indexOf('edge_count') !== EDGES || edge_fields?.length !== EDGE) {
    throw new Error('V8 writes snapshots in another form than the fuzzer cuts')
  }
  return taken
}

/** Fields of a node: V8 12 writes seven, V8 13 six. */
const widthOf = ({ snapshot }: Snapshot): number => (snapshot.meta.node_fields as string[]).length

/** The part of a snapshot that lies around its suspended functions: small, and all that the walks look at. */
export function cut(whole: Snapshot, mostNodes = MOST_widthS): Snapshot {
  const { nodes, edges, strings } = whole
  const width = widthOf(whole)
  const count = nodes.length / width
  const first = new Uint32Array(count + 1)
  for (let node = 0; node < count; node++) first[node + 1] = first[node]! + nodes[node * width + EDGES]!
  const into = new Map<number, number[]>()
  for (let node = 0; node < count; node++) {
    for (let edge = first[node]!; edge < first[node + 1]!; edge++) {
      const to = edges[edge * EDGE + 2]! / width
      const known = into.get(to)
      if (known === undefined) into.set(to, [node])
      else known.push(node)
    }
  }
  const kept = new Set<number>([0])
  for (let node = 0; node < count; node++) {
    if (/^(?:Generator|AsyncGenerator|numbers)$/.test(strings[nodes[node * width + 1]!] ?? '')) kept.add(node)
  }
  // A set takes in what is added while it is walked: breadth first along both directions.
  for (const node of kept) {
    if (kept.size >= mostNodes) break
    const targets = edges.slice(first[node]! * EDGE, first[node + 1]! * EDGE).filter((_, at) => at % EDGE === 2)
    for (const to of targets.slice(0, 40)) kept.add(to / width)
    for (const from of (into.get(node) ?? []).slice(0, 40)) kept.add(from)
  }
  const place = new Map([...kept].map((node, at) => [node, at]))
  const text = new Map<string, number>()
  const string = (index: number): number => {
    const value = (strings[index] ?? '').slice(0, 200)
    const known = text.get(value)
    if (known !== undefined) return known
    text.set(value, text.size)
    return text.size - 1
  }
  const numbered = new Set(
    (whole.snapshot.meta.edge_types as [string[]])[0].flatMap((name, at) => (/element|hidden/.test(name) ? [at] : [])),
  )
  const out: Snapshot = { ...whole, nodes: [], edges: [], locations: [], strings: [] }
  for (const node of kept) {
    const row = nodes.slice(node * width, node * width + width)
    row[1] = string(row[1]!)
    let own = 0
    for (let edge = first[node]!; edge < first[node + 1]!; edge++) {
      const [type, name, to] = edges.slice(edge * EDGE, edge * EDGE + EDGE) as [number, number, number]
      const target = place.get(to / width)
      if (target === undefined) continue
      out.edges.push(type, numbered.has(type) ? name : string(name), target * width)
      own++
    }
    row[EDGES] = own
    out.nodes.push(...row)
  }
  for (let at = 0; at < whole.locations.length; at += 4) {
    const node = place.get(whole.locations[at]! / width)
    if (node !== undefined) out.locations.push(node * width, ...whole.locations.slice(at + 1, at + 4))
  }
  out.strings = [...text.keys()]
  out.snapshot = { ...whole.snapshot, node_count: kept.size, edge_count: out.edges.length / EDGE }
  return out
}

/** In the order and without the spaces in which V8 writes it. */
export function write(snapshot: Snapshot): string {
  const { snapshot: head, nodes, edges, locations, strings } = snapshot
  return `{"snapshot":${JSON.stringify(head)},"nodes":[${nodes}],"edges":[${edges}],"trace_function_infos":[],"trace_tree":[],"samples":[],"locations":[${locations}],"strings":${JSON.stringify(strings)}}`
}

const HOSTILE_NUMBERS = [0, 1, -1, 7, 255, 256, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 4e9, 1e15, 1.5]

/** A damaged snapshot that is still in the form of one: the walks get to see it. */
export function damageTables(from: Snapshot, random: Random): Snapshot {
  const damaged: Snapshot = {
    ...from,
    nodes: [...from.nodes],
    edges: [...from.edges],
    locations: [...from.locations],
    strings: [...from.strings],
  }
  const { nodes, edges, locations, strings } = damaged
  const width = widthOf(from)
  const nodeCount = nodes.length / width
  const edgeCount = edges.length / EDGE
  const anyNode = (): number => random.below(nodeCount)
  const edgeAt = (): number => random.below(edgeCount) * EDGE
  const changes = 1 + random.skewed(4000)
  const how = random.below(10)
  for (let i = 0; i < changes; i++) {
    switch (how) {
      case 0: // other targets: cycles, ends, strangers
        edges[edgeAt() + 2] = anyNode() * width
        break
      case 1: // other names and types of edges
        edges[edgeAt() + random.below(2)] = random.below(random.chance(0.5) ? 8 : strings.length)
        break
      case 2: // one node that everything leads to
        edges[edgeAt() + 2] = (changes % nodeCount) * width
        break
      case 3: // nodes of another class or type
        nodes[anyNode() * width + random.below(2)] = random.below(random.chance(0.5) ? 16 : strings.length)
        break
      case 4: // the same id twice, or none
        nodes[anyNode() * width + 2] = random.pick([0, 1, nodes[2]!, 2 ** 32 - 1])
        break
      case 5: // edges go over to another node
        {
          const [giver, taker] = [anyNode() * width + EDGES, anyNode() * width + EDGES]
          const moved = random.below(nodes[giver]! + 1)
          nodes[giver]! -= moved
          nodes[taker]! += moved
        }
        break
      case 6:
        strings[random.below(strings.length)] = hostileText(random)
        break
      case 7:
        if (locations.length > 0) locations[random.below(locations.length)] = random.pick(HOSTILE_NUMBERS)
        break
      case 8: // chains of what the walks follow
        {
          const at = edgeAt()
          edges[at] = edges[random.below(edgeCount) * EDGE]!
          edges[at + 1] = edges[random.below(edgeCount) * EDGE + 1]!
          edges[at + 2] = anyNode() * width
        }
        break
      default: // numbers that do not fit
        random.pick([nodes, edges])[random.below(nodes.length)] = random.pick(HOSTILE_NUMBERS)
    }
  }
  return damaged
}

export function hostileText(random: Random): string {
  return random.pick([
    '',
    'Promise',
    'Generator',
    'system / PromiseReaction',
    'system / Context',
    'parameters_and_registers',
    '__proto__',
    'constructor',
    'harrow:test:1',
    '\u001b[2J\u0007\u0000\n\r',
    '\ud800',
    '\\',
    '"'.repeat(random.below(50)),
    'x'.repeat(random.skewed(100_000)),
    '((((a+)+)+)+)+$'.repeat(20),
    `node:internal/${'../'.repeat(300)}`,
    'file:///%E0%A4%A',
  ])
}

/** Damage to the text itself: what a cut file, a broken disk or somebody's malice makes of it. */
export function damageText(text: string, random: Random): Buffer {
  let bytes = Buffer.from(text)
  const at = (): number => random.below(Math.max(1, bytes.length))
  switch (random.below(12)) {
    case 0:
      return bytes.subarray(0, at())
    case 1:
      for (let i = 1 + random.below(20); i > 0; i--) bytes[at()] = random.below(256)
      return bytes
    case 2: {
      const from = at()
      return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + random.skewed(bytes.length))])
    }
    case 3: {
      const [from, to] = [at(), at()]
      const piece = bytes.subarray(from, from + random.skewed(20_000))
      return Buffer.concat([bytes.subarray(0, to), piece, bytes.subarray(to)])
    }
    case 4: {
      // One number of all of them.
      const from = at()
      const number = random.pick(['-', '--5', '1-2-3-4-5', '9'.repeat(400), '1e400', '0x10', '1.5', 'null', '', '-1'])
      const rest = text.slice(from).replace(/\d+/, number)
      return Buffer.from(text.slice(0, from) + rest)
    }
    case 5:
      return Buffer.from(text.replace(/"(node|edge)_count":\d+/g, (_, w) => `"${w}_count":${random.pick(COUNTS)}`))
    case 6: {
      const key = random.pick(['node_fields', 'edge_fields', 'node_types', 'edge_types', 'location_fields', 'meta'])
      const value = random.pick([
        'null',
        '[]',
        '"type name id edge_count"',
        '{}',
        '[[]]',
        `${'['.repeat(9000)}${']'.repeat(9000)}`,
        '7',
      ])
      return Buffer.from(text.replace(new RegExp(`"${key}":(?:\\[[^\\]]*\\]|\\{)`), () => `"${key}":${value}`))
    }
    case 7: {
      const open = random.pick(['[', '{"a":', '"', '\\', '-', '-1', '1-', '"",'])
      const from = at()
      const flood = Buffer.from(open.repeat(1 + random.skewed(300_000)))
      return Buffer.concat([bytes.subarray(0, from), flood, bytes.subarray(from)])
    }
    case 8: {
      // The tables in another order, twice, or missing.
      const parts = text.split(/,(?="(?:nodes|edges|trace_function_infos|locations|strings)":)/)
      const taken = parts.slice(1).filter(() => random.chance(0.8))
      if (random.chance(0.5)) taken.sort(() => random.next() - 0.5)
      else taken.push(random.pick(parts))
      return Buffer.from([parts[0], ...taken].join(','))
    }
    case 9: {
      const from = text.indexOf('"strings":[') + 11
      const tail = random.pick(['"\\', '"\\u', '"\\ud800",', '"a" "b"', '"\n",', '"', ']', '"\\x41"]}', ',,,"",'])
      return Buffer.from(text.slice(0, from + random.below(Math.max(1, text.length - from))) + tail)
    }
    case 10:
      bytes = Buffer.alloc(random.skewed(2_000_000), random.pick(['[', '"', '0', '{"snapshot":', ' ', '\u0000']))
      return Buffer.concat([Buffer.from(random.pick(['', '{"snapshot":', '{"snapshot":{"meta":'])), bytes])
    default:
      return bytes
  }
}

const COUNTS = ['0', '-1', '6000000', '6000001', '72000000', '4000000000', '1e308', '1e999', '"7"', 'null', '0.5']

/** The same bytes in pieces, as small as one. */
export function* pieces(bytes: Uint8Array, random: Random): Generator<Uint8Array> {
  const most = random.pick([1, 7, 100, 65_536, bytes.length + 1])
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random.below(most)
    yield bytes.subarray(at, end)
    at = end
  }
}
