// npm run bench:pool-cpu: what V8 with one thread costs a test that computes for long, in the pool zygote beside plain forks: the
// time of the test itself, without its worker's start and imports. Each pool once a round, in an order that turns. --rounds N
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from '../../scripts/dev/build.ts'
import { binOf, childEnv, linkHarrow, npm, root } from '../../scripts/dev/checkout.ts'
import { runChild } from '../../scripts/dev/child.ts'
import { median, range, table } from './table.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } })
const RUN_MS = 5 * 60_000
const INSTALL_MS = 5 * 60_000

const FILES: Record<string, string> = {
  // A check of the library of the language itself, which has some ten thousand declarations.
  'typescript.test.js': `import ts from 'typescript'
import { expect, test } from 'vitest'
test('checks', () => {
  const options = { noEmit: true, strict: true, lib: ['lib.esnext.full.d.ts'], skipLibCheck: false, types: [] }
  const program = ts.createProgram([import.meta.dirname + '/checked.ts'], options)
  expect(ts.getPreEmitDiagnostics(program)).toEqual([])
})
`,
  'checked.ts': `export const answer = [1, 2, 3].map((one) => one + 1)\n`,
  'loop.test.js': `import { expect, test } from 'vitest'
test('counts', () => {
  let sum = 0
  for (let i = 0; i < 1_500_000_000; i++) sum = (sum + i * 7) | 0
  expect(sum).toBeTypeOf('number')
})
`,
}
const POOLS: Record<string, string> = {
  forks: '',
  zygote: `plugins: [harrow({ pool: 'zygote', zygote: { wait: true, warm: [] } })],`,
}

if (!build()) process.exit(1)
const folder = mkdtempSync(join(tmpdir(), 'hrwc-'))
try {
  const { version } = (await import(join(root, 'node_modules/vitest/package.json'), { with: { type: 'json' } })).default
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'bench', private: true, type: 'module' }))
  const [command, ...first] = npm()
  // The last TypeScript that is a program in JavaScript.
  const args = [...first, 'install', '--no-audit', '--no-fund', '--prefer-offline', `vitest@${version}`]
  const install = await runChild(command, [...args, 'typescript@5.9', 'koffi@3'], {
    cwd: folder,
    env: childEnv(),
    limitMs: INSTALL_MS,
  })
  if (install.code !== 0) throw new Error(`npm install failed:\n${install.output}`)
  linkHarrow(folder)
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text)
  for (const [pool, plugins] of Object.entries(POOLS)) {
    writeFileSync(
      join(folder, `${pool}.config.js`),
      `import { harrow } from 'harrow/vitest'
export default { cacheDir: './cache-${pool}', ${plugins} test: { pool: 'forks', maxWorkers: 1, testTimeout: 120_000 } }\n`,
    )
  }
  await measure()
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function measure(): Promise<void> {
  const pools = Object.keys(POOLS)
  const found = new Map<string, number[]>()
  for (let round = -1; round < Number(values.rounds); round++) {
    for (let i = 0; i < pools.length; i++) {
      const pool = pools[(i + Math.max(0, round)) % pools.length]!
      for (const [test, ms] of await times(pool)) {
        const key = `${test} ${pool}`
        if (round >= 0) found.set(key, [...(found.get(key) ?? []), ms])
      }
    }
  }
  console.log(`\nOne test, Node ${process.version}, one worker`)
  const rows = ['checks', 'counts'].flatMap((test) => {
    const forks = median(found.get(`${test} forks`)!)
    return pools.map((pool) => {
      const all = found.get(`${test} ${pool}`)!
      return [test, pool, median(all).toFixed(0), range(all), (median(all) / forks).toFixed(2)]
    })
  })
  table(['test', 'pool', 'ms', 'range', 'of forks'], rows)
}

/** By the name of the test, milliseconds. */
async function times(pool: string): Promise<Map<string, number>> {
  const report = join(folder, `${pool}.json`)
  const args = [binOf('vitest', 'vitest', folder), 'run', '--config', `${pool}.config.js`]
  const run = await runChild(process.execPath, [...args, '--reporter=json', `--outputFile=${report}`], {
    cwd: folder,
    env: childEnv({ CI: 'true' }),
    limitMs: RUN_MS,
  })
  if (run.code !== 0 || /cannot fork|is not supervised/.test(run.output)) {
    throw new Error(`${pool}: exit ${run.code ?? run.signal}\n${run.output}`)
  }
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
    testResults: { assertionResults: { title: string; duration: number }[] }[]
  }
  return new Map(testResults.flatMap((file) => file.assertionResults).map(({ title, duration }) => [title, duration]))
}
