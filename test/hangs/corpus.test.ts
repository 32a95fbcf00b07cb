import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { root } from '../../scripts/dev/checkout.ts'
import { type ChildResult, runChild } from '../../scripts/dev/child.ts'
import { corpusFiles, judge, type Row, readExpectation, readRunFile } from '../../scripts/dev/score.ts'
import { makeProject, type Project } from '../project.ts'

const CORPUS = join(root, 'test/hangs/corpus')
const VARIANTS = join(root, 'test/hangs/variants')
const folderOf = (file: string): string => (existsSync(join(CORPUS, file)) ? CORPUS : VARIANTS)

/** Some of each class, and of the variants; `npm run corpus` runs all of them, from a packed and installed harrow. */
const diagnosed = [
  'await-http-no-response.test.ts',
  'blocked-atomics-wait.test.ts',
  'blocked-execsync-self-server.test.ts',
  'blocked-microtask-starvation.test.ts',
  'blocked-spin-flag.test.ts',
  'child-stdin-not-ended.test.ts',
  'fake-timers-await-sleep.test.ts',
  'lock-behind-slow-setup.test.ts',
  'lock-jobs-in-a-job.test.ts',
  'lock-ring-of-three.test.ts',
  'lock-self-deadlock.test.ts',
  'lost-hook-beforeall.test.ts',
  'lost-missed-event.test.ts',
  'module-import-cycle.test.ts',
  'module-toplevel-await.test.ts',
  'pipe-web-write-unread.test.ts',
  'signal-sigterm-ignored.test.ts',
]

const healthy = ['healthy-cpu-burst.test.ts', 'healthy-slow-await.test.ts', 'healthy-slow-locks.test.ts']

describe('the hang corpus', () => {
  let project: Project
  let run: ChildResult
  let rows: Map<string, Row>

  beforeAll(async () => {
    const built = await runChild(process.execPath, ['scripts/dev/build.ts'], { cwd: root, limitMs: 60_000 })
    expect(built.output).toBe('')
    project = makeProject({
      'vitest.config.ts': `
        import { harrow } from 'harrow/vitest'
        export default {
          plugins: [harrow({ hang: { grace: 500, collect: 4000 } })],
          test: { testTimeout: 2000, hookTimeout: 2000, pool: 'forks', maxWorkers: 2 },
        }`,
    })
    const files = [...diagnosed, ...healthy]
    for (const file of files) copyFileSync(join(folderOf(file), file), join(project.folder, file))
    run = await project.vitest([], 150_000)
    const record = readRunFile(join(project.folder, '.harrow/run.json'))
    rows = new Map(files.map((file) => [file, judge(file, readExpectation(folderOf(file), file), record)]))
  }, 180_000)

  afterAll(() => project?.remove())

  test('is run to its end, which is not a good one, and no process is left', () => {
    expect(run.late, run.output).toBe(false)
    expect(run.code, run.output).toBe(1)
    expect(run.survivors).toEqual([])
  })

  test.each(diagnosed)('%s is blamed on its test and its line', (file) => {
    const { test, culprit, at, diagnosis } = rows.get(file)!
    expect({ test, culprit }, `${at}: ${diagnosis}`).toMatchObject({
      test: true,
      culprit: expect.stringMatching(/^(exact|accepted)$/),
    })
  })

  test.each(diagnosed)('%s is put into its class', (file) => {
    const row = rows.get(file)!
    expect(row.class, row.diagnosis).toBe(row.want)
  })

  test.each(healthy)('%s is not reported', (file) => {
    expect(rows.get(file)!.culprit, rows.get(file)!.diagnosis).toBe('healthy')
  })

  test.each([CORPUS, VARIANTS])('has a first line in every file of %s that names a class and a kind', (folder) => {
    expect(corpusFiles(folder).length).toBeGreaterThanOrEqual(40)
    for (const file of corpusFiles(folder)) {
      const want = readExpectation(folder, file)
      expect(want, file).toMatchObject({
        class: expect.any(String),
        kind: expect.stringMatching(/^(hang|leak|orphan|healthy)$/),
      })
    }
  })
})
