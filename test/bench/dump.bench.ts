/**
 * npm run bench:dump: what a look at a heap costs in time and memory, beside `v8.writeHeapSnapshot`, which is the limit of all
 * that walks the heap with V8's profiler. Each look is a process of its own; the ways take turns.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { childEnv, root } from '../../scripts/dev/checkout.ts'
import { runChild } from '../../scripts/dev/child.ts'
import { median, range, table } from './table.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    heaps: { type: 'string', default: '10:100000,50:500000,200:2500000,1024:10000000' },
    json: { type: 'boolean', default: false },
  },
})
const LIMIT_MS = 300_000
const WAYS = ['writeHeapSnapshot', 'look', 'stacks', 'full'] as const
/** A look that is forced to take a snapshot of a heap above this size is left out: minutes and gigabytes. */
const FULL_MB = 300

interface Cost {
  ms: number
  cpuMs: number
  heapMb: number
  extraMb: number
  line: boolean
  holder: boolean
  step: string
}

const folder = mkdtempSync(join(tmpdir(), 'harrow-bench-dump-'))
const rows: string[][] = []
const all: object[] = []
try {
  for (const heap of values.heaps.split(',')) {
    const [mb = '0', nodes = '0'] = heap.split(':')
    const ways = WAYS.filter((way) => Number(mb) <= FULL_MB || way === 'look' || way === 'stacks')
    const costs = new Map<string, Cost[]>(ways.map((way) => [way, []]))
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const way of round % 2 === 0 ? ways : ways.toReversed()) costs.get(way)!.push(await measure(way, mb, nodes))
    }
    const limit = costs.get('writeHeapSnapshot')?.map(({ ms }) => ms)
    for (const [way, list] of costs) {
      const ms = list.map((one) => one.ms)
      const ratio = limit === undefined ? '-' : (median(ms) / median(limit)).toFixed(2)
      const last = list.at(-1)!
      const says =
        way === 'writeHeapSnapshot'
          ? '-'
          : [last.line && 'lines', last.holder && 'holder', last.step].filter(Boolean).join(', ')
      rows.push([
        `${last.heapMb.toFixed(0)} MB, ${(Number(nodes) / 1000).toFixed(0)} k`,
        way,
        `${median(ms).toFixed(0)} (${range(ms)})`,
        median(list.map((one) => one.cpuMs)).toFixed(0),
        ratio,
        Math.max(...list.map((one) => one.extraMb)).toFixed(0),
        says,
      ])
      all.push({ heap, way, costs: list })
    }
    process.stderr.write(`${heap} done\n`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
if (values.json) console.log(JSON.stringify(all, null, 1))
else table(['small objects', 'way', 'ms (range)', 'cpu ms', 'of the limit', 'extra MB', 'tells'], rows)

async function measure(way: string, mb: string, nodes: string): Promise<Cost> {
  const patient = join(root, 'test/bench/dump/patient.ts')
  const run = await runChild(process.execPath, ['--max-old-space-size=4096', patient, way, mb, nodes, folder], {
    cwd: root,
    env: childEnv(),
    limitMs: LIMIT_MS,
  })
  const written = join(folder, 'bench.heapsnapshot')
  if (way === 'writeHeapSnapshot' && statSync(written, { throwIfNoEntry: false })) rmSync(written)
  if (run.code !== 0) throw new Error(`${way} of ${mb} MB ended with ${run.code}: ${run.stdout.slice(-500)}`)
  return JSON.parse(run.stdout) as Cost
}
