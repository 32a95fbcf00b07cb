import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import { makeProject, type Project } from '../project.ts'
import { config, type Outcome, runSuite } from './suite.ts'

/** Concurrent tests that share a function are told apart where V8 carries a value along with each `await`. */
const FOLLOWED = Number.parseInt(process.versions.node, 10) >= 24

const files: Record<string, string> = {
  'rest.test.ts': `
    import { beforeAll, describe, expect, test } from 'vitest'
    describe('suite', () => {
      test('before', async () => { await new Promise((r) => setTimeout(r, 5)) })
      test('spins', () => {
        for (;;) {}
      })
      test('after ok', () => {})
      describe('inner', () => { test('after bad', () => { expect(2).toBe(3) }) })
    })
    describe('hooked', () => {
      beforeAll(() => {
        for (;;) {}
      })
      test('behind the hook', () => {})
    })
    test.skip('skipped', () => {})
    test('last', () => {})`,
  'concurrent.test.ts': `
    import { describe, test } from 'vitest'
    describe.concurrent('c', () => {
      const body = async ({ task }: { task: { name: string } }) => {
        await null
        if (task.name === 'blocks') for (;;) {}
        await new Promise((r) => setTimeout(r, 30))
      }
      ${FOLLOWED ? '' : `test('blocks', async () => { await null; for (;;) {} })`}
      test('waits', body)
      ${FOLLOWED ? `test('blocks', body)` : ''}
      test('waits too', body)
    })`,
  'own.test.ts': `
    import { describe, test } from 'vitest'
    const held: unknown[] = []
    describe.concurrent('c', () => {
      test('one', async () => {
        await new Promise((r) => held.push(r))
      })
      test('two', { timeout: 1500 }, async () => {
        await new Promise((r) => held.push(r))
      })
    })`,
  'import.test.ts': `
    import { test } from 'vitest'
    test('never collected', () => {})
    for (;;) {}`,
  'fixture.test.ts': `
    import { test as base } from 'vitest'
    const kept: unknown[] = []
    const test = base.extend<{ db: string }>({
      db: async ({}, use) => {
        await use('db')
        await new Promise((r) => kept.push(r))
      },
    })
    test('uses it', ({ db }) => { void db })
    // The record of the worker still names the test whose limit would have passed.
    const looping = base.extend<{ db: string }>({
      db: async ({}, use) => {
        await use('db')
        for (;;) {}
      },
    })
    looping('loops behind it', ({ db }) => { void db })
    test('next', () => {})`,
  'untimed.test.ts': `
    import { test } from 'vitest'
    test('loops without a limit', { timeout: 0 }, () => { for (;;) {} })`,
  'expected.test.ts': `
    import { test } from 'vitest'
    test.fails('is meant to time out', async () => { await new Promise((r) => setTimeout(r, 60_000)) })`,
  'long-hook.test.ts': `
    import { beforeAll, test } from 'vitest'
    beforeAll(() => { const end = performance.now() + 1800; while (performance.now() < end) {} }, 10_000)
    test('is fine behind a slow hook', () => {})`,
}

describe.each(['forks', 'threads'])('a suite that hangs in every phase, pool %s', (pool) => {
  let project: Project
  let outcome: Outcome

  beforeAll(async () => {
    project = makeProject({
      ...files,
      'vitest.config.ts': config(
        `{ hang: { grace: 400, collect: 2500, teardown: 800, blocked: 2500, lost: 'off' } }`,
        `pool: '${pool}'`,
      ),
    })
    outcome = await runSuite(project)
  }, 120_000)
  afterAll(() => project?.remove())

  test('ends by itself, with 1, and leaves no process', () => {
    expect(outcome.run.late, outcome.run.output).toBe(false)
    expect(outcome.run.code, outcome.run.output).toBe(1)
    expect(outcome.run.survivors).toEqual([])
  })

  test('has a result for every test, each what it is', () => {
    expect(Object.fromEntries(outcome.status)).toEqual({
      'rest.test.ts > suite before': 'passed',
      'rest.test.ts > suite spins': 'failed',
      'rest.test.ts > suite after ok': 'passed',
      'rest.test.ts > suite inner after bad': 'failed',
      'rest.test.ts > hooked behind the hook': 'skipped',
      'rest.test.ts > skipped': 'skipped',
      'rest.test.ts > last': 'passed',
      'concurrent.test.ts > c waits': 'passed',
      'concurrent.test.ts > c blocks': 'failed',
      'concurrent.test.ts > c waits too': 'passed',
      'own.test.ts > c one': 'failed',
      'own.test.ts > c two': 'failed',
      'fixture.test.ts > uses it': 'failed',
      'fixture.test.ts > loops behind it': 'failed',
      'fixture.test.ts > next': 'passed',
      'untimed.test.ts > loops without a limit': 'failed',
      'expected.test.ts > is meant to time out': 'passed',
      'long-hook.test.ts > is fine behind a slow hook': 'passed',
    })
  })

  test('the record names each hang once, with its place', () => {
    const hangs = outcome.record.hangs.map((h) => [
      h.file,
      h.test?.join(' > ') ?? null,
      h.hook,
      h.phase,
      h.culprit?.line,
    ])
    expect(hangs.sort()).toEqual([
      ['concurrent.test.ts', 'c > blocks', null, 'test', FOLLOWED ? 6 : 9],
      ['fixture.test.ts', 'loops behind it', null, 'teardown', 15],
      ['fixture.test.ts', 'uses it', null, 'teardown', 7],
      ['import.test.ts', null, null, 'collect', 4],
      ['own.test.ts', 'c > one', null, 'test', 6],
      ['own.test.ts', 'c > two', null, 'test', 9],
      ['rest.test.ts', 'hooked', 'beforeAll', 'hook', 13],
      ['rest.test.ts', 'suite > spins', null, 'test', 6],
      ['untimed.test.ts', 'loops without a limit', null, 'test', 3],
    ])
  })

  test('the error of an ended test is the diagnosis, with its place in the stack', () => {
    const [message] = outcome.assertions.get('rest.test.ts > suite spins')!.failureMessages
    expect(message).toMatch(/for \(;;\) \{\}/)
    expect(message).toMatch(/class event-loop-blocked \(certain\) · dump \.harrow\/dumps\//)
    expect(message).toMatch(/rest\.test\.ts:6:\d+/)
  })

  test('a test that ran into its own limit reports what vitest reports, and beside it what it hangs at', () => {
    const { failureMessages, meta } = outcome.assertions.get('own.test.ts > c one')!
    expect(failureMessages[0]).toMatch(/^(TestTimeoutError: |Error: )?Test timed out in 800ms/)
    expect(meta.harrow?.hang.diagnosis).toContain('own.test.ts:6:')
    expect(outcome.run.output).toMatch(/❯ own\.test\.ts:6:\d+ hang\n.*waits at .*\s.*dump \.harrow\/dumps\//)
  })

  test('every dump is complete, readable as text and as JSON, and for its owner only', () => {
    for (const hang of outcome.record.hangs) {
      const json = join(project.folder, hang.dump!)
      const record = parseDumpRecord(JSON.parse(readFileSync(json, 'utf8')))
      expect(record.verdict.class).toBe(hang.class)
      const text = json.replace(/\.json$/, '.txt')
      expect(readFileSync(text, 'utf8')).toMatch(/^harrow hang dump, format 1\n/)
      expect(statSync(text).mode & 0o077).toBe(0)
    }
    expect(existsSync(join(project.folder, '.harrow/dumps'))).toBe(true)
  })

  test('says nothing of the inspector that it used', () => {
    expect(outcome.run.output).not.toMatch(/Debugger (listening|attached|ending)|nodejs\.org\/learn/)
  })
})

describe('a heap that is too large for a snapshot', () => {
  let project: Project
  let outcome: Outcome

  beforeAll(async () => {
    project = makeProject({
      'vitest.config.ts': config('{ hang: { snapshot: 0 } }'),
      'gate.test.ts': `
        import { test } from 'vitest'
        const queue: unknown[] = []
        async function pass() {
          await new Promise((resolve) => queue.push(resolve))
        }
        test('waits at the gate', async () => {
          await pass()
        })`,
    })
    outcome = await runSuite(project)
  }, 120_000)
  afterAll(() => project.remove())

  test('still names the line, and says what it left out', () => {
    const [hang] = outcome.record.hangs
    expect(hang).toMatchObject({ test: ['waits at the gate'], culprit: { path: 'gate.test.ts', line: 5 } })
    const text = readFileSync(join(project.folder, hang!.dump!.replace(/\.json$/, '.txt')), 'utf8')
    expect(text).toContain('step 2 of 3: lines and waiters from async stacks, no heap snapshot')
    expect(text).toMatch(/gate\.test\.ts:8:\d+ {3}await pass\(\)/)
  })
})
