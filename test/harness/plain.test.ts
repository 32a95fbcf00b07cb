import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import { makeProject, type Project } from '../project.ts'
import { config, type Outcome, runSuite } from './suite.ts'

/** Each body leaves a line in `began.txt`: that tells how often it was run. */
const files: Record<string, string> = {
  'began.ts': `
    import { appendFileSync } from 'node:fs'
    export function began(what: string) {
      appendFileSync('began.txt', what + '\\n')
    }`,
  'plain.test.ts': `
    import { EventEmitter, once } from 'node:events'
    import { test } from 'vitest'
    import { began } from './began.ts'
    const emitter = new EventEmitter()
    test('fine before', () => {})
    test('waits for an emitter', () => {
      began('held')
      return once(emitter, 'ready')
    })
    test('returns what nobody settles', () => {
      began('lost')
      return new Promise(() => {})
    })
    test('fine behind', () => {})`,
  'fixture.test.ts': `
    import { test as base } from 'vitest'
    import { began } from './began.ts'
    const test = base.extend<{ db: string }>({
      db: async ({}, use) => {
        began('fixture')
        await use('db')
        await new Promise(() => {})
      },
    })
    test('uses the fixture', ({ db }) => { void db })
    test('next', () => {})`,
}

describe.each(['forks', 'threads'])('test functions that are not async, pool %s', (pool) => {
  let project: Project
  let outcome: Outcome
  let began: string[]

  beforeAll(async () => {
    project = makeProject({
      ...files,
      'vitest.config.ts': config('{ hang: { grace: 400, teardown: 800 } }', `pool: '${pool}'`),
    })
    outcome = await runSuite(project)
    began = readFileSync(join(project.folder, 'began.txt'), 'utf8').trim().split('\n')
  }, 120_000)
  afterAll(() => project?.remove())

  const hang = (title: string) => outcome.record.hangs.filter((one) => one.test?.at(-1) === title)
  const times = (what: string) => began.filter((line) => line === what).length

  test('fail alone, and nothing is left', () => {
    expect(outcome.run.late, outcome.run.output).toBe(false)
    expect(outcome.run.survivors).toEqual([])
    expect(Object.fromEntries(outcome.status), outcome.run.output).toEqual({
      'plain.test.ts > fine before': 'passed',
      'plain.test.ts > waits for an emitter': 'failed',
      'plain.test.ts > returns what nobody settles': 'failed',
      'plain.test.ts > fine behind': 'passed',
      'fixture.test.ts > uses the fixture': 'failed',
      'fixture.test.ts > next': 'passed',
    })
    expect(outcome.record.hangs).toHaveLength(3)
  })

  test.each([
    ['waits for an emitter', 'guess', 7, 'held', 1],
    ['returns what nobody settles', 'likely', 13, 'lost', 2],
  ])('"%s" is called lost (%s), at line %i', (title, confidence, line, mark, runs) => {
    expect(hang(title), outcome.run.output).toMatchObject([
      {
        file: 'plain.test.ts',
        phase: 'test',
        class: 'lost-promise',
        confidence,
        culprit: { path: 'plain.test.ts', line },
      },
    ])
    expect(hang(title)[0]!.diagnosis).toContain('returned a promise that')
    expect(times(mark), 'runs, with one with promises traced only where nobody holds it').toBe(runs)
  })

  test('its error is the one of vitest', () => {
    const [message] = outcome.assertions.get('plain.test.ts > waits for an emitter')!.failureMessages
    expect(message).toMatch(/Test timed out in 800ms/)
  })

  test('a fixture that loses its promise in its teardown is lost for certain, at its line', () => {
    expect(hang('uses the fixture'), outcome.run.output).toMatchObject([
      {
        phase: 'teardown',
        class: 'lost-promise',
        confidence: 'certain',
        culprit: { path: 'fixture.test.ts', line: 8 },
      },
    ])
    expect(times('fixture'), 'one more run with promises traced').toBe(2)
  })

  test('each dump can be read again', () => {
    for (const { dump, class: name } of outcome.record.hangs) {
      const record = parseDumpRecord(JSON.parse(readFileSync(join(project.folder, dump!), 'utf8')))
      expect(JSON.stringify(record)).toContain(name)
    }
  })
})
