// npm run bench:suites -- --dir DIR: real projects under vitest's pool `forks` and under harrow's pools: the same tests, each with
// the same result? and how long a run takes, in rounds in which the pools take turns.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { binOf, childEnv, linkHarrow, manifest } from '../../scripts/dev/checkout.ts'
import { runChild } from '../../scripts/dev/child.ts'
import { count, differences, type Outcome, readOutcome } from './projects/results.ts'
import { median, range, table } from './table.ts'

const USAGE = `npm run bench:suites -- --dir DIR [options]
  --dir DIR        a folder of projects, each with its packages and vitest installed. DIR/bench.json, if it is there, says more of
                   them by folder: { "folder": { "args": ["src/array"], "config": "vite.config.ts", "coverage": true } }
  --only a,b       only these folders
  --pools a,b      of forks (vitest alone), harrow (the plugin on forks), zygote, waiting (for the zygote); the first one is what
                   others are compared with
  --rounds 2       timed rounds after the one that learns; 0: only the results are compared
  --workers 2
  --limit 300      seconds until a run is ended
  --again          keep what earlier runs have learned: no cold run
  --out FILE       also write differences, reports and notes there

A project's packages decide which harrow it runs: where it has none, this checkout is linked into it (npm run build first).`

const { values } = parseArgs({
  options: {
    dir: { type: 'string' },
    only: { type: 'string' },
    pools: { type: 'string', default: 'forks,zygote' },
    rounds: { type: 'string', default: '2' },
    workers: { type: 'string', default: '2' },
    limit: { type: 'string', default: '300' },
    again: { type: 'boolean', default: false },
    out: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

/** What `bench.json` says of a project. */
interface Facts {
  /** Further arguments of vitest: filters, a project. */
  args?: string[]
  /** Its config file, where it has another name than most. */
  config?: string
  coverage?: boolean
}

const PLUGINS: Record<string, string> = {
  forks: '',
  harrow: 'harrow()',
  zygote: `harrow({ pool: 'zygote' })`,
  waiting: `harrow({ pool: 'zygote', zygote: { wait: true } })`,
}
const CONFIGS = ['vitest', 'vite'].flatMap((name) =>
  ['ts', 'mts', 'js', 'mjs', 'cts', 'cjs'].map((end) => `${name}.config.${end}`),
)

interface Row {
  name: string
  files: number
  tests: string
  differ: number
  ms: Record<string, number[]>
}

/** A signal ends the run that is under way (`runChild` passes it on), and then there is no other. */
let stopped = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => (stopped = true))

const lines: string[] = []
const say = (line: string): void => {
  console.log(line)
  lines.push(line)
}

if (values.help || !values.dir) console.log(USAGE)
else await main(resolve(values.dir))

async function main(dir: string): Promise<void> {
  const pools = values.pools.split(',')
  const strange = pools.find((pool) => !(pool in PLUGINS))
  if (strange !== undefined) throw new Error(`--pools: forks, harrow, zygote and waiting are known, not ${strange}`)
  const known = join(dir, 'bench.json')
  const facts: Record<string, Facts> = existsSync(known) ? JSON.parse(readFileSync(known, 'utf8')) : {}
  const all = readdirSync(dir).filter((name) => existsSync(join(dir, name, 'node_modules/vitest/package.json')))
  const names = values.only?.split(',') ?? all
  if (names.length === 0) throw new Error(`${dir} has no folder with node_modules/vitest; see --help`)
  const rows: Row[] = []
  for (const name of names) {
    try {
      rows.push(await measure(name, join(dir, name), facts[name] ?? {}, pools))
    } catch (error) {
      if (stopped) throw error
      say(error instanceof Error ? error.message : String(error))
      process.exitCode = 1
    }
  }
  const seconds = (ms: number): string => (ms / 1000).toFixed(2)
  const [first] = pools as [string]
  console.log(`\n${values.workers} workers, Node ${process.version}; seconds: median (least to greatest)`)
  table(
    ['project', 'files', 'tests', 'differ', ...pools, ...pools.slice(1).map((pool) => `${pool} / ${first}`)],
    rows.map(({ name, files, tests, differ, ms }) => [
      name,
      `${files}`,
      tests,
      `${differ}`,
      ...pools.map((pool) => {
        const one = ms[pool]!
        return one.length === 0
          ? ''
          : `${seconds(median(one))} (${range(
              one.map((each) => each / 1000),
              2,
            )})`
      }),
      ...pools.slice(1).map((pool) => {
        const one = ms[pool]!
        return one.length === 0 ? '' : (median(one) / median(ms[first]!)).toFixed(2)
      }),
    ]),
  )
  if (values.out) writeFileSync(values.out, `${lines.join('\n')}\n`)
  if (rows.some(({ differ }) => differ > 0)) process.exitCode = 1
}

async function measure(name: string, root: string, facts: Facts, pools: string[]): Promise<Row> {
  say(`\n${name}: vitest ${manifest('vitest', root).version}`)
  if (!existsSync(join(root, 'node_modules/harrow'))) linkHarrow(root)
  const theirs = facts.config ?? CONFIGS.find((file) => existsSync(join(root, file)))
  const configs = Object.fromEntries(pools.map((pool) => [pool, join(root, `harrow-bench-${pool}.config.mjs`)]))
  const ms: Record<string, number[]> = Object.fromEntries(pools.map((pool) => [pool, []]))
  const differing = new Set<string>()
  let base: Outcome | undefined
  const run = async (pool: string, what: string): Promise<void> => {
    const outcome = await runOnce(root, configs[pool]!, pool, facts)
    if (stopped) throw new Error('interrupted')
    const { run, reports, notes } = outcome
    const text = `${count(outcome, 'passed')} passed, ${count(outcome, 'failed')} failed`
    say(
      `  ${pool}, ${what}: ${(run.ms / 1000).toFixed(2)} s, exit ${run.code ?? run.signal}, ${outcome.files} files, ${text}`,
    )
    for (const { pid, command } of run.survivors) say(`    left over: ${pid} ${command}`)
    for (const line of new Set([...reports, ...notes.map((note) => `note: ${note}`)])) say(`    ${line}`)
    if (outcome.files === 0) throw new Error(`${name} did not run:\n${run.output.slice(-3000)}`)
    if (what !== 'cold') ms[pool]!.push(run.ms)
    base ??= outcome
    const differ = [...differences(base, outcome), ...run.survivors.map(({ command }) => `left over: ${command}`)]
    for (const line of differ) differing.add(line)
    for (const line of differ.slice(0, 20)) say(`    differs from the first run: ${line}`)
    if (differ.length > 20) say(`    and ${differ.length - 20} more`)
  }
  try {
    for (const pool of pools) {
      writeFileSync(configs[pool]!, configText(theirs, pool))
      if (!values.again) rmSync(join(root, cacheOf(pool)), { recursive: true, force: true })
    }
    if (!values.again) for (const pool of pools) await run(pool, 'cold')
    for (let round = 0; round < Number(values.rounds); round++) {
      for (let i = 0; i < pools.length; i++) await run(pools[(i + round) % pools.length]!, `round ${round + 1}`)
    }
  } finally {
    for (const config of Object.values(configs)) rmSync(config, { force: true })
  }
  const tests = base ? [...base.tests.values()].flat().length : 0
  const failed = base ? count(base, 'failed') : 0
  return {
    name,
    files: base?.files ?? 0,
    tests: failed ? `${tests} (${failed} fail)` : `${tests}`,
    differ: differing.size,
    ms,
  }
}

async function runOnce(root: string, config: string, pool: string, { args = [], coverage }: Facts): Promise<Outcome> {
  const own = join(root, cacheOf(pool))
  const report = join(own, 'report.json')
  const record = join(root, '.harrow/run.json')
  mkdirSync(own, { recursive: true })
  for (const file of [report, record]) rmSync(file, { force: true })
  const flags = [
    ...['run', '--config', config, '--pool', 'forks', '--maxWorkers', values.workers, '--typecheck.enabled=false'],
    ...['--reporter=json', `--outputFile=${report}`, '--watch=false', `--coverage.enabled=${coverage === true}`],
  ]
  const run = await runChild(process.execPath, [binOf('vitest', 'vitest', root), ...flags, ...args], {
    cwd: root,
    env: childEnv({ CI: 'true', NO_COLOR: '1' }),
    limitMs: Number(values.limit) * 1000,
  })
  return readOutcome(run, report, record, root)
}

/** Of its own for each pool, so that none finds what another has learned or kept. */
function cacheOf(pool: string): string {
  return `node_modules/.harrow-bench/${pool}`
}

/** Their config, with the plugin. */
function configText(theirs: string | undefined, pool: string): string {
  const plugin = PLUGINS[pool]!
  return `import { mergeConfig } from 'vitest/config'
${plugin && "import { harrow } from 'harrow/vitest'"}
${theirs ? `import theirs from './${theirs}'` : 'const theirs = {}'}

const config = await (typeof theirs === 'function' ? theirs({ mode: 'test', command: 'serve' }) : theirs)
export default mergeConfig(config, { plugins: [${plugin}], cacheDir: '${cacheOf(pool)}' })
`
}
