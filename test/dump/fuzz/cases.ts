/** The cases of the fuzzer: each takes one hostile input through the code that reads such input. */
import { buildRecord } from '../../../src/dump/build-record.ts'
import { classify } from '../../../src/dump/classify.ts'
import { parseDumpRecord } from '../../../src/dump/parse-record.ts'
import { redactText } from '../../../src/dump/redact.ts'
import { hangBlockOf, renderDump, renderHangBlock } from '../../../src/dump/render.ts'
import type { DumpRecord } from '../../../src/dump/schema.ts'
import { createMapper } from '../../../src/dump/source-map.ts'
import { HarrowError, isHarrowError, ProbeError } from '../../../src/errors.ts'
import { asyncStacks } from '../../../src/inspect/async-stacks.ts'
import { blocksOf, outline } from '../../../src/inspect/code-outline.ts'
import { driveSync } from '../../../src/inspect/drive.ts'
import { HeapGraph } from '../../../src/inspect/heap/graph.ts'
import { SnapshotParser } from '../../../src/inspect/heap/parse.ts'
import { factsFromStacks } from '../../../src/inspect/stack-facts.ts'
import { inspectSuspended } from '../../../src/inspect/suspended.ts'
import * as samples from '../sample-facts.ts'
import { fakePost } from './inspector.ts'
import { Random } from './random.ts'
import { cut, damageTables, damageText, hostileText, pieces, realSnapshot, type Snapshot, write } from './snapshots.ts'
import { damageValue } from './values.ts'

/** `taken`: read to its end; `refused`: one of harrow's own errors. Anything else is a bug and thrown. */
export type Outcome = 'taken' | 'refused'

export interface Seeds {
  whole: string
  cut: Snapshot
  text: string
  records: DumpRecord[]
}

/** What the cases are made of; takes a few seconds. */
export function makeSeeds(): Seeds {
  const real = realSnapshot()
  const small = cut(real)
  const records = Object.values(samples)
    .filter((one): one is () => ReturnType<typeof samples.LOCK> => typeof one === 'function' && one.length === 0)
    .map((facts) => buildRecord(facts(), classify(facts())))
  return { whole: write(real), cut: small, text: write(small), records }
}

/** The kinds of case with how many of a thousand are of each. */
const KINDS = [
  ['tables', 400],
  ['text', 250],
  ['whole', 5],
  ['dump', 225],
  ['dump text', 60],
  ['stacks', 40],
  ['words', 20],
] as const
export type Kind = (typeof KINDS)[number][0]

export function kindOf(random: Random): Kind {
  let left = random.below(1000)
  for (const [kind, share] of KINDS) {
    left -= share
    if (left < 0) return kind
  }
  return 'tables'
}

/** Runs the case with this number; the same seed and number make the same case. */
export function runCase(seeds: Seeds, seed: number, number: number): { kind: Kind; outcome: Outcome } {
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b))
  const kind = kindOf(random)
  try {
    run(kind, seeds, random)
  } catch (error) {
    if (isHarrowError(error) && /^HARROW_(?:PROBE|USAGE)$/.test(error.code)) return { kind, outcome: 'refused' }
    throw new Error(`case ${number} of seed ${seed} (${kind}) broke`, { cause: error })
  }
  if (({} as { polluted?: unknown }).polluted !== undefined) throw new HarrowError('HARROW_INTERNAL', 'polluted')
  return { kind, outcome: 'taken' }
}

function run(kind: Kind, seeds: Seeds, random: Random): void {
  if (kind === 'tables') look(Buffer.from(write(damageTables(seeds.cut, random))), random)
  else if (kind === 'text') look(damageText(seeds.text, random), random)
  else if (kind === 'whole') look(damageText(seeds.whole, random), random)
  else if (kind === 'dump') show(damageValue(random.pick(seeds.records), random))
  else if (kind === 'dump text') show(fromJson(damageText(JSON.stringify(random.pick(seeds.records)), random)))
  else if (kind === 'words') words(random)
  else JSON.stringify(factsFromStacks(driveSync(asyncStacks({ ids: random.chance(0.5) }), fakePost(random))))
}

/** From bytes to facts, with an inspector that lies. */
function look(bytes: Uint8Array, random: Random): void {
  const parser = new SnapshotParser()
  for (const piece of pieces(bytes, random)) parser.write(piece)
  const graph = new HeapGraph(parser.end())
  const facts = driveSync(
    inspectSuspended(graph, {
      ownerRule: { fn: 'marker', script: () => true },
      preferOwner: 'harrow:test:1',
      known: new Set([1, 3]),
      isUser: (url) => !url.startsWith('node:'),
    }),
    fakePost(random),
  )
  JSON.stringify(facts)
}

/** What `harrow dump FILE.json` does with it. */
function show(value: unknown): void {
  const record = parseDumpRecord(value)
  const text = renderDump(record)
  renderDump(record, { ascii: true })
  renderHangBlock(hangBlockOf(record, 'x.txt'))
  // Nothing of a dump may move a terminal's cursor.
  if (/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(text)) throw new Error('a control character got into the text')
}

function fromJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new ProbeError('not JSON', { cause })
  }
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: code as text
const CODE = 'class Lock { async take(n = "{") { for (const x of /[/]}/.exec(`${n}`)) await this.q(x) } } '

/** Source texts, source maps and texts with secrets: read by regular expressions and scanners. */
function words(random: Random): void {
  const text = damageText(CODE.repeat(1 + random.skewed(2000)), random).toString('utf8')
  for (const block of blocksOf(outline(text))) if (block.end < block.start) throw new Error('a block ends before it')
  redactText(text)
  const unit = random.pick([
    '--a ',
    'token=',
    'password: "',
    'eyJ',
    'Bearer ',
    'a://b:',
    '\\',
    '"',
    'x-token:',
    '-----BEGIN ',
  ])
  redactText(hostileText(random) + unit.repeat(1 + random.skewed(40_000)))
  const map = damageValue({ version: 3, sources: ['a.ts'], names: [], mappings: 'AAAA,IAAI;AACA' }, random)
  const mapper = createMapper(() => map, '/app')
  mapper.frame({ fn: hostileText(random), at: { url: 'file:///app/a.js', line: 1, column: random.below(90) } })
}
