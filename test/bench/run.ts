// npm run bench: what harrow costs. Plain vitest and vitest with harrow take turns (A B B A) on the same generated
// suites, so that a machine that gets busy slows both; and the time from a test's limit to its dump on disk.
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from '../../scripts/dev/build.ts'
import { binOf, isProgram } from '../../scripts/dev/checkout.ts'
import { runChild } from '../../scripts/dev/child.ts'
import { readRunFile } from '../../scripts/dev/score.ts'
import { cleanEnv, type Project } from '../project.ts'
import { read } from '../source.ts'
import { CONFIGS, HANG_LIMIT_MS, makeHangs, makeSuite, type Variant } from './suites.ts'

const USAGE = `npm run bench -- [options]
  --rounds 3        rounds of A B B A for each suite
  --suites many,long,hangs
  --pool forks      vitest's pool: forks or threads
  --files 200 --tests 10 --long 5000
                    the suite "many" has that many files of that many tests, "long" one file of that many
  --json            print one JSON object instead of tables`

const RUN_MS = 180_000

/** Prints the processor times of the shell's children last: user and system, minutes and seconds. */
const TIMED = '"$@"; code=$?; times >&2; exit $code'

/** Milliseconds of one run: on the clock, and of all processors together, which a busy machine disturbs less. */
interface Times {
  wall: number
  cpu: number
}

interface Cost {
  suite: string
  files: number
  tests: number
  runs: Record<Variant, Times[]>
  /** Medians. */
  plain: Times
  harrow: Times
  /** harrow / plain. */
  ratio: Times
  /** Microseconds that harrow adds to a test, by the medians. */
  perTestUs: Times
}

interface Reaction {
  hang: string
  /** From the moment that the test's limit passed to the dump on disk, milliseconds. */
  limitToDumpMs: number[]
  /** How long the evidence took, as the dump says. */
  captureMs: number[]
}

if (isProgram(import.meta.url)) await main()

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      suites: { type: 'string', default: 'many,long,hangs' },
      pool: { type: 'string', default: 'forks' },
      files: { type: 'string', default: '200' },
      tests: { type: 'string', default: '10' },
      long: { type: 'string', default: '5000' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(USAGE)
  if (!build()) {
    process.exitCode = 1
    return
  }
  const suites = values.suites.split(',')
  const rounds = Number(values.rounds)
  const costs: Cost[] = []
  if (suites.includes('many')) costs.push(await cost(Number(values.files), Number(values.tests), values.pool, rounds))
  if (suites.includes('long')) costs.push(await cost(1, Number(values.long), values.pool, rounds))
  const reactions = suites.includes('hangs') ? await reactionTimes(values.pool, rounds) : []
  if (values.json) console.log(JSON.stringify({ node: process.version, pool: values.pool, costs, reactions }, null, 2))
  else print(costs, reactions)
}

async function cost(files: number, tests: number, pool: string, rounds: number): Promise<Cost> {
  const project = makeSuite(files, tests, pool)
  const runs: Record<Variant, Times[]> = { plain: [], harrow: [] }
  try {
    // The first run of each fills the caches of the file system and of the compiler.
    await once(project, 'plain')
    await once(project, 'harrow')
    for (let round = 0; round < rounds; round++) {
      for (const variant of ['plain', 'harrow', 'harrow', 'plain'] as const) {
        runs[variant].push(await once(project, variant))
      }
    }
  } finally {
    project.remove()
  }
  const all = files * tests
  const middle = (variant: Variant, key: keyof Times): number => median(runs[variant].map((times) => times[key]))
  const both = (of: (key: keyof Times) => number): Times => ({ wall: of('wall'), cpu: of('cpu') })
  return {
    suite: `${files} file${files === 1 ? '' : 's'} x ${tests} tests`,
    files,
    tests: all,
    runs,
    plain: both((key) => middle('plain', key)),
    harrow: both((key) => middle('harrow', key)),
    ratio: both((key) => middle('harrow', key) / middle('plain', key)),
    perTestUs: both((key) => (1000 * (middle('harrow', key) - middle('plain', key))) / all),
  }
}

async function once(project: Project, variant: Variant): Promise<Times> {
  const command = [process.execPath, binOf('vitest'), 'run', '--config', CONFIGS[variant]]
  const options = { cwd: project.folder, env: cleanEnv(), limitMs: RUN_MS }
  const run = await runChild('sh', ['-c', TIMED, 'sh', ...command], options)
  if (run.code !== 0) throw new Error(`the ${variant} run ended with ${run.code ?? run.signal}:\n${run.output}`)
  const spent = [...run.output.matchAll(/(\d+)m([\d.]+)s/g)].slice(-2)
  const cpu = spent.reduce((sum, [, minutes, seconds]) => sum + 60_000 * Number(minutes) + 1000 * Number(seconds), 0)
  return { wall: run.ms, cpu }
}

async function reactionTimes(pool: string, rounds: number): Promise<Reaction[]> {
  const project = makeHangs(pool)
  const reactions: Reaction[] = ['blocked', 'idle'].map((hang) => ({ hang, limitToDumpMs: [], captureMs: [] }))
  try {
    for (let round = 0; round < rounds; round++) {
      rmSync(join(project.folder, '.harrow'), { recursive: true, force: true })
      const run = await project.vitest([], RUN_MS)
      const { hangs } = readRunFile(join(project.folder, '.harrow/run.json'))
      for (const { hang, limitToDumpMs, captureMs } of reactions) {
        const dump = hangs.find(({ file }) => file === `${hang}.test.ts`)?.dump
        if (dump === undefined) throw new Error(`the ${hang} loop was not reported:\n${run.output}`)
        const path = join(project.folder, dump)
        const limit = Number(read(project.folder, `${hang}.start`)) + HANG_LIMIT_MS
        limitToDumpMs.push(statSync(path).mtimeMs - limit)
        const { capture } = JSON.parse(read(path)) as { capture: { tookMs: number } }
        captureMs.push(capture.tookMs)
      }
    }
  } finally {
    project.remove()
  }
  return reactions
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function print(costs: Cost[], reactions: Reaction[]): void {
  const ms = (values: number[]) => `${Math.round(Math.min(...values))}..${Math.round(Math.max(...values))}`
  if (costs.length > 0) {
    table(
      ['suite', '', 'plain ms', 'range', 'harrow ms', 'range', 'ratio', 'us a test'],
      costs.flatMap((cost) =>
        (['wall', 'cpu'] as const).map((key) => [
          key === 'wall' ? cost.suite : '',
          key,
          cost.plain[key].toFixed(0),
          ms(cost.runs.plain.map((times) => times[key])),
          cost.harrow[key].toFixed(0),
          ms(cost.runs.harrow.map((times) => times[key])),
          cost.ratio[key].toFixed(3),
          cost.perTestUs[key].toFixed(1),
        ]),
      ),
    )
  }
  if (reactions.length > 0) {
    table(
      ['hang', 'limit to dump ms', 'range', 'evidence ms', 'range'],
      reactions.map(({ hang, limitToDumpMs, captureMs }) => [
        hang,
        median(limitToDumpMs).toFixed(0),
        ms(limitToDumpMs),
        median(captureMs).toFixed(0),
        ms(captureMs),
      ]),
    )
  }
}

function table(head: string[], rows: string[][]): void {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)))
  const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  console.log(`\n${line(head)}\n|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`)
  for (const row of rows) console.log(line(row))
}
