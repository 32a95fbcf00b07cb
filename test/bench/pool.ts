// npm run bench:pool: what one more test file costs in the pool zygote, beside vitest's own pools. Each pool once a round, in an
// order that turns; a run of few and one of many files, so that what a run costs once falls out. --rounds N --suites a,b
// --pools a,b --files N (of each suite; default 100, 30, 30) --workers N
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from '../../scripts/dev/build.ts'
import { binOf, childEnv, linkHarrow, npm, root } from '../../scripts/dev/checkout.ts'
import { runChild } from '../../scripts/dev/child.ts'
import { median, range, table } from './table.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    suites: { type: 'string', default: 'trivial,jsdom,heavy' },
    pools: { type: 'string', default: 'zygote,forks,harrow,threads,vmThreads,none' },
    files: { type: 'string' },
    workers: { type: 'string', default: '2' },
  },
})
const rounds = Number(values.rounds)
const pools = values.pools.split(',')
const RUN_MS = 10 * 60_000
const INSTALL_MS = 5 * 60_000
const FEW = 2

interface Suite {
  files: number
  /** Of its `test` options. */
  config: string
  text(n: number): string
  setup?: string
  target: number
}

const PLAIN = (n: number): string =>
  `import { expect, test } from 'vitest'\ntest('adds', () => { expect(${n} + 1).toBe(${n + 1}) })\n`

const SUITES: Record<string, Suite> = {
  trivial: { files: 100, config: '', text: PLAIN, target: 0.2 },
  jsdom: {
    files: 30,
    config: `environment: 'jsdom',`,
    text: (n) =>
      `import { expect, test } from 'vitest'\ntest('renders', () => { document.body.innerHTML = '<p>${n}</p>'; expect(document.querySelector('p').textContent).toBe('${n}') })\n`,
    target: 0.25,
  },
  heavy: {
    files: 30,
    config: `setupFiles: ['./setup.js'],`,
    setup: `import ts from 'typescript'\nglobalThis.ts = ts\n`,
    text: (n) =>
      `import { expect, test } from 'vitest'\ntest('parses', () => { expect(ts.createSourceFile('a.ts', 'let a = ${n}', 99).statements.length).toBe(1) })\n`,
    target: 0.12,
  },
}

/** Of `test` and `plugins`. */
const POOLS: Record<string, string> = {
  zygote: `plugins: [harrow({ pool: 'zygote', zygote: { wait: true } })], test: { pool: 'forks',`,
  harrow: `plugins: [harrow()], test: { pool: 'forks',`,
  forks: `test: { pool: 'forks',`,
  threads: `test: { pool: 'threads',`,
  vmThreads: `test: { pool: 'vmThreads',`,
  none: `test: { pool: 'forks', isolate: false,`,
}

if (!build()) process.exit(1)
const folder = mkdtempSync(join(tmpdir(), 'hrwp-'))
try {
  const { version } = (await import(join(root, 'node_modules/vitest/package.json'), { with: { type: 'json' } })).default
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'bench', private: true, type: 'module' }))
  const [command, ...first] = npm()
  // The last TypeScript that is a program in JavaScript.
  const packages = [`vitest@${version}`, 'jsdom@27', 'typescript@5.9', 'koffi@3']
  const args = [...first, 'install', '--no-audit', '--no-fund', '--prefer-offline', ...packages]
  const install = await runChild(command, args, { cwd: folder, env: childEnv(), limitMs: INSTALL_MS })
  if (install.code !== 0) throw new Error(`npm install failed:\n${install.output}`)
  linkHarrow(folder)
  for (const name of values.suites.split(',')) await measure(name, SUITES[name]!)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function measure(name: string, suite: Suite): Promise<void> {
  const many = Number(values.files ?? suite.files)
  const place = join(folder, name)
  for (const [kind, count] of [
    ['few', FEW],
    ['many', FEW + many],
  ] as const) {
    mkdirSync(join(place, kind), { recursive: true })
    for (let i = 0; i < count; i++) writeFileSync(join(place, kind, `f${i}.test.js`), suite.text(i))
  }
  if (suite.setup) writeFileSync(join(place, 'setup.js'), suite.setup)
  for (const pool of pools) {
    writeFileSync(
      join(place, `${pool}.config.js`),
      `import { harrow } from 'harrow/vitest'
export default { cacheDir: './cache-${pool}', ${POOLS[pool]} ${suite.config} maxWorkers: ${values.workers} } }\n`,
    )
  }
  const found: Record<string, number[]> = Object.fromEntries(pools.map((pool) => [pool, []]))
  for (let round = -1; round < rounds; round++) {
    for (let i = 0; i < pools.length; i++) {
      const pool = pools[(i + Math.max(0, round)) % pools.length]!
      const few = await wall(place, pool, 'few')
      const all = await wall(place, pool, 'many')
      if (round >= 0) found[pool]!.push((all - few) / many)
    }
  }
  const forks = found.forks ? median(found.forks) : Number.NaN
  console.log(
    `\n${name}: ${many} files, ${values.workers} workers, Node ${process.version}; target ${suite.target} of forks`,
  )
  table(
    ['pool', 'ms a file', 'range', 'of forks'],
    pools.map((pool) => {
      const ms = median(found[pool]!)
      return [pool, ms.toFixed(1), range(found[pool]!, 1), (ms / forks).toFixed(2)]
    }),
  )
}

async function wall(place: string, pool: string, kind: 'few' | 'many'): Promise<number> {
  const args = [binOf('vitest', 'vitest', folder), 'run', '--config', `${pool}.config.js`, '--reporter=dot', `${kind}/`]
  const run = await runChild(process.execPath, args, { cwd: place, env: childEnv({ CI: 'true' }), limitMs: RUN_MS })
  if (run.code !== 0 || /cannot fork|is not supervised/.test(run.output)) {
    throw new Error(`${pool}, ${kind} files: exit ${run.code ?? run.signal}\n${run.output}`)
  }
  return run.ms
}
