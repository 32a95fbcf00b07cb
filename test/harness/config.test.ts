import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { makeProject, type Project } from '../project.ts'
import { config, readRecordFile, runSuite } from './suite.ts'

const loop = `
  import { test } from 'vitest'
  test('loops', () => { for (;;) {} })
  test('fine', () => {})`
const fine = `
  import { test } from 'vitest'
  test('fine', () => {})`

let project: Project | undefined
afterEach(() => project?.remove())

describe('where the plugin works', () => {
  test('inline projects, a project with a config of its own, a pool per project; vm pools are left alone with one line', async () => {
    project = makeProject({
      'a.test.ts': loop,
      'b.test.ts': loop,
      'c.test.ts': fine,
      'sep/d.test.ts': loop,
      'sep/vitest.config.ts': `export default { test: { name: 'sep', testTimeout: 600 } }`,
      'vitest.config.ts': config(
        '{ hang: { grace: 300 } }',
        `projects: [
          { extends: true, test: { name: 'one', include: ['a.test.ts'] } },
          { extends: true, test: { name: 'two', include: ['b.test.ts'], pool: 'threads' } },
          { extends: true, test: { name: 'vm', include: ['c.test.ts'], pool: 'vmForks' } },
          './sep',
        ]`,
      ),
    })
    const { run, record } = await runSuite(project)
    expect(run.late, run.output).toBe(false)
    expect(record.hangs.map((h) => `${h.project} ${h.file}`).sort()).toEqual([
      'one a.test.ts',
      'sep sep/d.test.ts',
      'two b.test.ts',
    ])
    expect(run.output).toMatch(/HANG {2}\|two\| b\.test\.ts > loops/)
    expect(run.output).toMatch(/again: npx vitest run b\.test\.ts --project two -t "loops"/)
    expect(run.output.match(/pool "vmForks" of project "vm" is not supervised/g)).toHaveLength(1)
  }, 90_000)

  test('--pool on the command line is wrapped', async () => {
    project = makeProject({ 'a.test.ts': loop, 'vitest.config.ts': config('{ hang: { grace: 300 } }') })
    const { record } = await runSuite(project, ['--pool=threads'])
    expect(record.hangs).toMatchObject([{ file: 'a.test.ts', test: ['loops'], class: 'event-loop-blocked' }])
  }, 60_000)

  test('--shard and several files in one worker (no isolation): the files behind the hang run', async () => {
    project = makeProject({
      'a.test.ts': fine,
      'b.test.ts': loop,
      'c.test.ts': fine,
      'd.test.ts': fine,
      'vitest.config.ts': config(
        '{ hang: { grace: 300 } }',
        'isolate: false, maxWorkers: 1, sequence: { shuffle: false }',
      ),
    })
    const { run, status } = await runSuite(project, ['--shard=1/1'])
    expect(Object.fromEntries(status), run.output).toEqual({
      'a.test.ts > fine': 'passed',
      'b.test.ts > loops': 'failed',
      'b.test.ts > fine': 'passed',
      'c.test.ts > fine': 'passed',
      'd.test.ts > fine': 'passed',
    })
  }, 60_000)

  test('a worker that never starts or never stops is ended and named', async () => {
    project = makeProject({
      'a.test.ts': fine,
      'b.test.ts': fine,
      'starts.ts': `export default { name: 's', viteEnvironment: 'ssr', async setup() { await new Promise((r) => { globalThis.kept = r }); return { teardown() {} } } }`,
      'stops.ts': `export default { name: 's', viteEnvironment: 'ssr', setup() { return { async teardown() { await new Promise((r) => { globalThis.kept = r }) } } } }`,
      'vitest.config.ts': config(
        '{ hang: { grace: 300, start: 2500, stop: 1500 } }',
        `projects: [
          { extends: true, test: { name: 'starts', include: ['a.test.ts'], environment: './starts.ts' } },
          { extends: true, test: { name: 'stops', include: ['b.test.ts'], environment: './stops.ts' } },
        ]`,
      ),
    })
    const run = await project.vitest([], 60_000)
    expect(run.late, run.output).toBe(false)
    expect(run.code, run.output).toBe(1)
    expect(
      readRecordFile(project)
        .hangs.map((h) => h.phase)
        .sort(),
      run.output,
    ).toEqual(['after-tests', 'start'])
  }, 90_000)
})

describe('options', () => {
  test('a wrong one is refused before any test runs, with the valid ones', async () => {
    project = makeProject({ 'a.test.ts': fine, 'vitest.config.ts': config('{ hang: { blockt: 1 } }') })
    const run = await project.vitest([], 30_000)
    expect(run.code).not.toBe(0)
    expect(run.output).toMatch(/UsageError: .*no option "blockt".*"blocked".*Valid options: grace, blocked, collect/s)
    expect(run.output).not.toMatch(/✓/)
  }, 60_000)

  test('maxPerFile bounds the re-runs of one file', async () => {
    const many = `
      import { test } from 'vitest'
      for (let i = 0; i < 4; i++) test('loops ' + i, () => { for (;;) {} })`
    project = makeProject({
      'a.test.ts': many,
      'vitest.config.ts': config('{ hang: { grace: 200, maxPerFile: 2 } }', 'testTimeout: 300'),
    })
    const { status } = await runSuite(project)
    expect([...status.values()]).toEqual(['failed', 'failed', 'skipped', 'skipped'])
  }, 60_000)

  test('hang: false and HARROW=off leave the pool alone', async () => {
    const slow = `
      import { test } from 'vitest'
      test('blocks longer than its limit and the grace', () => { const end = performance.now() + 2500; while (performance.now() < end) {} })`
    project = makeProject({ 'a.test.ts': slow, 'vitest.config.ts': config('{ hang: false }') })
    const off = await project.vitest([], 30_000)
    expect(off.output).not.toMatch(/HANG/)
    expect(off.output).toMatch(/Test timed out in 800ms/)
    project.write('vitest.config.ts', config('{ hang: { grace: 100 } }'))
    const byVariable = await project.vitest([], 30_000, { HARROW: 'off' })
    expect(byVariable.output).not.toMatch(/HANG/)
    expect(existsSync(join(project.folder, '.harrow/dumps'))).toBe(false)
  }, 90_000)

  test('a healthy run prints nothing more, and one line with header: true', async () => {
    project = makeProject({ 'a.test.ts': fine, 'vitest.config.ts': config('{}') })
    const quiet = await project.vitest([], 30_000)
    expect(quiet.code, quiet.output).toBe(0)
    expect(quiet.output).not.toMatch(/^ *harrow|HANG|hangs/m)
    project.write('vitest.config.ts', config('{ header: true }'))
    const told = await project.vitest([], 30_000)
    expect(told.output.match(/^ *harrow/gm)).toHaveLength(1)
    expect(told.output).toMatch(
      /watches for hangs: .* blocked 10000 ms, collection 60000 ms · dumps in \.harrow\/dumps/,
    )
  }, 90_000)
})
