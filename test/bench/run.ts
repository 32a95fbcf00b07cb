// npm run bench: what harrow costs. The ways to run a suite take turns on the same generated files (A B C D D C B A), so
// that a machine that gets busy slows all; and the time from a test's limit to its dump on disk, and to the end of a tree.
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from '../../scripts/dev/build.ts'
import { binOf, isProgram, root } from '../../scripts/dev/checkout.ts'
import { runChild } from '../../scripts/dev/child.ts'
import { readRunFile } from '../../scripts/dev/score.ts'
import { cleanEnv, type Project } from '../project.ts'
import { read } from '../source.ts'
import { printReap, reapCosts } from './reap.ts'
import { type Body, configOf, HANG_LIMIT_MS, makeHangs, makeSuite, type Variant } from './suites.ts'
import { median, range, table } from './table.ts'

const USAGE = `npm run bench -- [options]
  --suites many,long,hangs   of: many, long, work, hangs, reap, delta
  --rounds 3                 rounds of each suite (reap: 7); each runs every variant twice, in the order A B C C B A
  --variants again,hangs,harrow
                             what is compared with plain vitest: vitest again (what is noise), harrow without leaks and
                             orphans, harrow with its defaults
  --pool forks               vitest's pool: forks or threads
  --files 200 --tests 10 --long 5000
                             the suite "many" has that many files of that many tests, "long" one file of that many
                             trivial tests, "work" one file of that many tests of about 1 ms
  --json                     print one JSON object instead of tables`

const RUN_MS = 300_000
const REAP_ROUNDS = 7
const VARIANTS = ['again', 'hangs', 'harrow'] as const
const WORDS: Record<Variant, string> = {
  plain: 'vitest',
  again: 'vitest again',
  hangs: "harrow, leaks and orphans 'off'",
  harrow: 'harrow',
}

/** Prints the processor times of the shell's children last: user and system, minutes and seconds. */
const TIMED = '"$@"; code=$?; times >&2; exit $code'

/** Milliseconds of one run: on the clock, and of all processors together, which a busy machine disturbs less. */
interface Times {
  wall: number
  cpu: number
}

interface VariantCost {
  variant: Variant
  runs: Times[]
  median: Times
  /** Time of a round divided by that of plain vitest in the same round, one for each round. */
  ratios: { wall: number[]; cpu: number[] }
  /** Median of these. */
  ratio: Times
  /** Microseconds that it adds to a test, by that. */
  perTestUs: Times
}

interface Cost {
  suite: string
  files: number
  tests: number
  variants: VariantCost[]
}

interface Reaction {
  hang: string
  /** From the moment that the test's limit passed to the dump on disk, milliseconds. */
  limitToDumpMs: number[]
  /** How long the evidence took, as the dump says. */
  captureMs: number[]
}

interface Plan {
  files: number
  tests: number
  body: Body
  pool: string
  variants: Variant[]
  rounds: number
}

if (isProgram(import.meta.url)) await main()

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      suites: { type: 'string', default: 'many,long,hangs' },
      variants: { type: 'string', default: VARIANTS.join() },
      pool: { type: 'string', default: 'forks' },
      files: { type: 'string', default: '200' },
      tests: { type: 'string', default: '10' },
      long: { type: 'string', default: '5000' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(USAGE)
  const suites = values.suites.split(',')
  const rounds = Number(values.rounds ?? 3)
  const asked = values.variants.split(',')
  const variants: Variant[] = ['plain', ...VARIANTS.filter((variant) => asked.includes(variant))]
  const { pool, json } = values
  if (suites.some((suite) => !['reap', 'delta'].includes(suite)) && !build()) {
    process.exitCode = 1
    return
  }
  const plan = { pool, variants, rounds }
  const costs: Cost[] = []
  if (suites.includes('many')) {
    costs.push(await cost({ ...plan, files: Number(values.files), tests: Number(values.tests), body: 'trivial' }))
  }
  const long = { ...plan, files: 1, tests: Number(values.long) }
  if (suites.includes('long')) costs.push(await cost({ ...long, body: 'trivial' }))
  if (suites.includes('work')) costs.push(await cost({ ...long, body: 'work' }))
  const reactions = suites.includes('hangs') ? await reactionTimes(pool, rounds) : []
  const reap = suites.includes('reap') ? await reapCosts(Number(values.rounds ?? REAP_ROUNDS)) : []
  const delta = suites.includes('delta') ? await deltaTimes(rounds, json) : null
  if (json) {
    console.log(JSON.stringify({ node: process.version, pool, costs, reactions, reap, delta }, null, 2))
  } else {
    printCosts(costs)
    printReactions(reactions)
    printReap(reap)
  }
}

async function cost({ files, tests, body, pool, variants, rounds }: Plan): Promise<Cost> {
  const project = makeSuite(files, tests, pool, body)
  const runs = new Map<Variant, Times[]>(variants.map((variant) => [variant, []]))
  try {
    // The first run of each fills the caches of the file system and of the compiler.
    for (const variant of variants) await once(project, variant)
    for (let round = 0; round < rounds; round++) {
      // Who is first is not always the same: the one after a suite, or after a pause, has other caches.
      const turn = round % variants.length
      const order = [...variants.slice(turn), ...variants.slice(0, turn)]
      for (const variant of [...order, ...order.toReversed()]) runs.get(variant)!.push(await once(project, variant))
    }
  } finally {
    project.remove()
  }
  const plain = runs.get('plain')!
  const all = files * tests
  return {
    suite: `${files} file${files === 1 ? '' : 's'} x ${tests} ${body === 'work' ? 'tests of 1 ms' : 'tests'}`,
    files,
    tests: all,
    variants: variants.map((variant) => compare(variant, runs.get(variant)!, plain, all)),
  }
}

function compare(variant: Variant, runs: Times[], plain: Times[], tests: number): VariantCost {
  const both = <T>(of: (key: keyof Times) => T): Record<keyof Times, T> => ({ wall: of('wall'), cpu: of('cpu') })
  const middle = both((key) => median(runs.map((times) => times[key])))
  const ratios = both((key) => perRound(runs, key).map((sum, round) => sum / perRound(plain, key)[round]!))
  const ratio = both((key) => median(ratios[key]))
  const perTestUs = both((key) => (1000 * (ratio[key] - 1) * median(plain.map((times) => times[key]))) / tests)
  return { variant, runs, median: middle, ratios, ratio, perTestUs }
}

/** Sums of the two runs of each round. */
function perRound(runs: Times[], key: keyof Times): number[] {
  return Array.from({ length: runs.length / 2 }, (_, round) => runs[2 * round]![key] + runs[2 * round + 1]![key])
}

async function once(project: Project, variant: Variant): Promise<Times> {
  const command = [process.execPath, binOf('vitest'), 'run', '--config', configOf(variant)]
  const env = cleanEnv({ XDG_STATE_HOME: join(project.folder, '.state') })
  const options = { cwd: project.folder, env, limitMs: RUN_MS }
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

/** A program of its own, so that nothing which ran before in this process is measured with it. */
async function deltaTimes(rounds: number, json: boolean): Promise<unknown> {
  const args = [join(root, 'test/bench/delta.ts'), '--rounds', String(rounds), ...(json ? ['--json'] : [])]
  const run = await runChild(process.execPath, args, { cwd: root, env: cleanEnv(), limitMs: RUN_MS })
  if (run.code !== 0) throw new Error(`the suite "delta" ended with ${run.code ?? run.signal}:\n${run.output}`)
  if (json) return JSON.parse(run.stdout)
  console.log(run.output.trimEnd())
  return null
}

function printCosts(costs: Cost[]): void {
  if (costs.length === 0) return
  table(
    ['suite', 'run', '', 'ms', 'range', 'ratio', 'range of rounds', 'us a test'],
    costs.flatMap(({ suite, variants }) =>
      variants.flatMap(({ variant, runs, median, ratio, ratios, perTestUs }, index) =>
        (['wall', 'cpu'] as const).map((key) => [
          index === 0 && key === 'wall' ? suite : '',
          key === 'wall' ? WORDS[variant] : '',
          key,
          median[key].toFixed(0),
          range(runs.map((times) => times[key])),
          variant === 'plain' ? '' : ratio[key].toFixed(3),
          variant === 'plain' ? '' : range(ratios[key], 3),
          variant === 'plain' ? '' : perTestUs[key].toFixed(1),
        ]),
      ),
    ),
  )
}

function printReactions(reactions: Reaction[]): void {
  if (reactions.length === 0) return
  table(
    ['hang', 'limit to dump ms', 'range', 'evidence ms', 'range'],
    reactions.map(({ hang, limitToDumpMs, captureMs }) => [
      hang,
      median(limitToDumpMs).toFixed(0),
      range(limitToDumpMs),
      median(captureMs).toFixed(0),
      range(captureMs),
    ]),
  )
}
