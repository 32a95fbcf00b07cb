import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { binOf } from '../../scripts/dev/checkout.ts'
import { runChild } from '../../scripts/dev/child.ts'
import { cleanEnv, makeProject, type Project } from '../project.ts'
import { config, type Outcome, readRecordFile, runSuite } from './suite.ts'

/** Slow but fine, each longer than the limits of the supervisor's own that do not apply to it. */
const files: Record<string, string> = {
  'concurrent.test.ts': `
    import { describe, test } from 'vitest'
    describe.concurrent('c', () => {
      test('has no limit', { timeout: 0 }, async () => { await new Promise((r) => setTimeout(r, 2500)) })
      test('is short', async () => { await new Promise((r) => setTimeout(r, 20)) })
    })`,
  'retry.test.ts': `
    import { expect, test } from 'vitest'
    let tries = 0
    test('pauses between tries', { retry: { count: 1, delay: 2500 } }, () => { expect(++tries).toBe(2) })`,
  'around.test.ts': `
    import { aroundEach, test } from 'vitest'
    aroundEach(async (run) => {
      await new Promise((r) => setTimeout(r, 1200))
      await run()
      await new Promise((r) => setTimeout(r, 2500))
    }, 9000)
    test('is wrapped', () => {})`,
  'hook.test.ts': `
    import { afterAll, beforeEach, test } from 'vitest'
    beforeEach(() => { const end = performance.now() + 1500; while (performance.now() < end) {} }, 9000)
    afterAll(async () => { await new Promise((r) => setTimeout(r, 2000)) }, 9000)
    test('has slow hooks', () => {})`,
}

describe.each(['forks', 'threads'])('a slow suite, pool %s', (pool) => {
  let project: Project
  let outcome: Outcome

  beforeAll(async () => {
    const options = '{ hang: { grace: 300, teardown: 600, blocked: 4000 } }'
    project = makeProject({ ...files, 'vitest.config.ts': config(options, `pool: '${pool}'`) })
    outcome = await runSuite(project)
  }, 60_000)
  afterAll(() => project?.remove())

  test('passes, and nothing is reported', () => {
    expect(outcome.run.code, outcome.run.output).toBe(0)
    expect(outcome.record.hangs).toEqual([])
    expect([...new Set(outcome.status.values())]).toEqual(['passed'])
  })
})

describe('a hang and --bail', () => {
  test('counts: nothing runs after it', async () => {
    const project = makeProject({
      'a.test.ts': `
        import { test } from 'vitest'
        test('loops', () => { for (;;) {} })
        test('next', () => {})`,
      'b.test.ts': `
        import { test } from 'vitest'
        test('other file', () => {})`,
      'vitest.config.ts': config('{ hang: { grace: 200 } }', 'maxWorkers: 1, fileParallelism: false'),
    })
    try {
      const { run, status } = await runSuite(project, ['--bail=1'])
      expect(run.late, run.output).toBe(false)
      expect(run.code).toBe(1)
      expect(status.get('a.test.ts > loops')).toBe('failed')
      expect([...status.values()]).not.toContain('passed')
    } finally {
      project.remove()
    }
  }, 60_000)

  test('the lost promise that ends the run is still looked into', async () => {
    const project = makeProject({
      'a.test.ts': `
        import { test } from 'vitest'
        test('is lost', async () => {
          await new Promise(() => {})
        })`,
      'vitest.config.ts': config('', 'testTimeout: 300'),
    })
    try {
      const { record } = await runSuite(project, ['--bail=1'])
      expect(record.hangs).toMatchObject([{ class: 'lost-promise', confidence: 'certain', culprit: { line: 4 } }])
    } finally {
      project.remove()
    }
  }, 60_000)
})

describe('results from before a hang', () => {
  test('are kept when the rest is not run again, which says why', async () => {
    const project = makeProject({
      'a.test.ts': `
        import { expect, test } from 'vitest'
        test('passes', () => {})
        test('fails', () => { expect(1).toBe(2) })
        test('loops', () => { for (;;) {} })
        test('behind', () => {})`,
      'vitest.config.ts': config('{ hang: { grace: 300, rerunRest: false } }'),
    })
    try {
      const { status, run } = await runSuite(project, ['--reporter=verbose'])
      expect(Object.fromEntries(status)).toEqual({
        'a.test.ts > passes': 'passed',
        'a.test.ts > fails': 'failed',
        'a.test.ts > loops': 'failed',
        'a.test.ts > behind': 'skipped',
      })
      expect(run.output).toMatch(/behind \[not run: the worker was ended when "loops" hung\]/)
      // Listed tests are no run: the record of the last one stays.
      const listed = await runChild(process.execPath, [binOf('vitest'), 'list'], {
        cwd: project.folder,
        env: cleanEnv(),
        limitMs: 60_000,
      })
      expect(listed.output).toContain('a.test.ts > loops')
      expect(readRecordFile(project).hangs).toHaveLength(1)
    } finally {
      project.remove()
    }
  }, 60_000)
})
