// npm run corpus: packs harrow, installs it into an empty project, runs a folder of hangs there in one vitest run and
// compares the run record with each file's `// expect:` line.
import { copyFileSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { binOf, childEnv, root } from './checkout.ts'
import { runChild } from './child.ts'
import { makeConsumer } from './consumer.ts'
import { corpusFiles, judge, packagesOf, readExpectation, readRunFile, total } from './score.ts'

const USAGE = `npm run corpus -- [folder] [options]
  folder            corpus files (default test/hangs/corpus); packages that they import are installed as well
  --dir folder      the same as an option, e.g. --dir test/hangs/variants
  --only a,b        only files whose names begin so
  --pool forks      vitest's pool: forks or threads, or harrow's: zygote
  --limit 600       seconds until the vitest run is ended
  --min 95          percent of the points below which the exit code is 1
  --json FILE       also write the rows and totals there`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dir: { type: 'string' },
    only: { type: 'string', default: '' },
    pool: { type: 'string', default: 'forks' },
    limit: { type: 'string', default: '600' },
    min: { type: 'string', default: '95' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(USAGE)
else process.exitCode = await scoreCorpus()

async function scoreCorpus(): Promise<number> {
  const folder = resolve(values.dir ?? positionals[0] ?? join(root, 'test/hangs/corpus'))
  const files = corpusFiles(folder, values.only.split(',').filter(Boolean))
  if (files.length === 0) throw new Error(`no corpus file in ${folder} begins with ${values.only}`)
  const project = mkdtempSync(join(tmpdir(), 'harrow-corpus-'))
  await makeConsumer(project, packagesOf(folder, files))
  for (const file of files) copyFileSync(join(folder, file), join(project, file))
  writeFileSync(join(project, 'vitest.config.ts'), config(values.pool))

  const run = await runChild(process.execPath, [binOf('vitest', 'vitest', project), 'run'], {
    cwd: project,
    env: childEnv({ NO_COLOR: '1', CI: 'true' }),
    limitMs: Number(values.limit) * 1000,
  })
  writeFileSync(join(project, 'output.txt'), run.output)

  const record = readRunFile(join(project, '.harrow/run.json'))
  if (record.missing !== undefined) console.log(`no run record: ${record.missing}`)
  const rows = files.map((file) => judge(file, readExpectation(folder, file), record))
  for (const row of rows) {
    const cls = row.class === undefined || row.class === row.want ? row.want : `${row.want} (got ${row.class})`
    const at = row.culprit === 'wrong' ? ` ${row.at ?? 'none'}` : ''
    const holder = row.holder === undefined ? '' : `  holder: ${row.holder ? 'yes' : 'no'}`
    const test = row.test ? '' : '  other test'
    console.log(
      `${row.points}/${row.max}  ${row.file.padEnd(42)} ${row.kind.padEnd(8)} ${cls}  ${row.culprit}${at}${holder}${test}`,
    )
  }
  for (const { pid, command } of run.survivors) console.log(`survivor: ${pid} ${command}`)
  const sum = total(rows)
  const percent = sum.max === 0 ? 100 : (100 * sum.points) / sum.max
  const ended = !run.late && run.code !== null
  if (values.json !== undefined) {
    writeFileSync(
      values.json,
      `${JSON.stringify({ ...sum, percent, ended, code: run.code, ms: run.ms, rows }, null, 2)}\n`,
    )
  }
  console.log(`exit ${run.code ?? run.signal}, ${(run.ms / 1000).toFixed(0)} s; kept in ${project}`)
  console.log(
    `score ${sum.points}/${sum.max} (${percent.toFixed(0)} %), culprit ${sum.culprits}/${sum.files}, ` +
      `class ${sum.classes}/${sum.files}, holder ${sum.holders}/${sum.holdersMax}, false alarms ${sum.alarms}, ` +
      `run ended: ${ended ? 'yes' : 'no'}, survivors: ${run.survivors.length}`,
  )
  const failsAsItShould = sum.files === 0 ? run.code === 0 : run.code !== 0
  const good = ended && failsAsItShould && run.survivors.length === 0 && sum.alarms === 0
  return good && percent >= Number(values.min) ? 0 : 1
}

function config(pool: string): string {
  const forked = pool === 'zygote'
  return `import { defineConfig } from 'vitest/config'
import { harrow } from 'harrow/vitest'

export default defineConfig({
  plugins: [harrow(${forked ? "{ pool: 'zygote', zygote: { wait: true } }" : ''})],
  test: { testTimeout: 2000, hookTimeout: 2500, pool: ${JSON.stringify(forked ? 'forks' : pool)}, maxWorkers: 2 },
})
`
}
