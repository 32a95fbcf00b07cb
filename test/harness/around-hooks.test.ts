// vitest keeps the limits of `aroundEach` and `aroundAll` by itself; harrow has to see them all the same.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeProject, type Project } from '../project.ts'
import { config, type Outcome, runSuite } from './suite.ts'

const files: Record<string, string> = {
  'each-after.test.ts': `
    import { aroundEach, test } from 'vitest'
    aroundEach(async (run) => {
      await run()
      await new Promise((resolve) => { globalThis.kept = resolve }) // 5
    })
    test('one', () => {})
    test('two', () => {})`,
  'each-before.test.ts': `
    import { aroundEach, describe, expect, test, vi } from 'vitest'
    let ran = false
    let tried = false
    describe('late', () => {
      aroundEach(async (run) => {
        await new Promise((resolve) => setTimeout(resolve, 2500)) // 7
        await run().catch(() => {})
        tried = true
      })
      test('never', () => { ran = true })
    })
    test('behind it', { timeout: 20_000 }, async () => {
      await vi.waitFor(() => expect(tried).toBe(true), 15_000)
      expect(ran).toBe(false)
    })`,
  'each-loop.test.ts': `
    import { aroundEach, test } from 'vitest'
    aroundEach(async (run) => { await run(); const end = Date.now() + 60_000; while (Date.now() < end); }) // 3
    test('spins', () => {})`,
  'all-before.test.ts': `
    import { aroundAll, test } from 'vitest'
    aroundAll(async (run) => {
      await new Promise((resolve) => { globalThis.kept = resolve }) // 4
      await run()
    })
    test('never', () => {})`,
  'healthy.test.ts': `
    import { setTimeout as sleep } from 'node:timers/promises'
    import { aroundAll, aroundEach, describe, expect, test } from 'vitest'
    const seen = []
    // What is before and what is behind have the limit each: together they take longer.
    aroundAll(async (run) => { await sleep(1200); await run(); await sleep(1200) }, 2000)
    aroundEach(async (run, { task }) => { seen.push('> ' + task.name); await run(); seen.push('<') })
    aroundEach(async (run) => { seen.push('in'); await run(); seen.push('out') })
    test('one', () => { expect(seen).toEqual(['> one', 'in']) })
    test('two', () => { expect(seen).toEqual(['> one', 'in', 'out', '<', '> two', 'in']) })
    test.fails('three', () => { throw new Error('as it should') })
    describe('no limit', () => {
      aroundEach(async (run) => { await sleep(900); await run() }, 0)
      test('four', () => {})
    })`,
  'throws.test.ts': `
    import { aroundEach, test } from 'vitest'
    aroundEach(async (run) => { await run(); throw new Error('of the hook') })
    test('fails', () => {})`,
}

const lineOf = (file: string, mark: number): number =>
  1 + files[file]!.split('\n').findIndex((line) => line.endsWith(`// ${mark}`))

describe.each(['forks', 'threads'])('hooks around tests (%s)', (pool) => {
  let project: Project
  let outcome: Outcome
  const hangOf = (file: string) => outcome.record.hangs.find((one) => one.file === file)

  beforeAll(async () => {
    project = makeProject({ ...files, 'vitest.config.ts': config('', `pool: '${pool}'`) })
    outcome = await runSuite(project)
  }, 180_000)
  afterAll(() => project.remove())

  test('what waits behind its test is named, for each of them, with the failure that vitest gives', () => {
    const { hangs } = outcome.record
    expect(hangs.filter((one) => one.file === 'each-after.test.ts').map((one) => [one.test?.at(-1), one.hook])).toEqual(
      [
        ['one', 'aroundEach'],
        ['two', 'aroundEach'],
      ],
    )
    expect(hangOf('each-after.test.ts')?.culprit?.line).toBe(lineOf('each-after.test.ts', 5))
    expect(outcome.assertions.get('each-after.test.ts > one')?.failureMessages.join()).toContain(
      'The teardown phase of "aroundEach" hook timed out after 800ms.',
    )
  })

  test('what waits before its test is named, and the test does not run behind it', () => {
    expect(hangOf('each-before.test.ts')).toMatchObject({ hook: 'aroundEach', test: ['late', 'never'] })
    expect(hangOf('each-before.test.ts')?.culprit?.line).toBe(lineOf('each-before.test.ts', 7))
    expect(outcome.assertions.get('each-before.test.ts > late never')?.failureMessages.join()).toContain(
      'The setup phase of "aroundEach" hook timed out after 800ms.',
    )
    expect(outcome.status.get('each-before.test.ts > behind it')).toBe('passed')
  })

  test('a loop is named', () => {
    expect(hangOf('each-loop.test.ts')).toMatchObject({ class: 'event-loop-blocked' })
    expect(hangOf('each-loop.test.ts')?.culprit?.line).toBe(lineOf('each-loop.test.ts', 3))
  })

  test('what waits around a suite is named', () => {
    expect(hangOf('all-before.test.ts')).toMatchObject({ hook: 'aroundAll', test: null })
    expect(hangOf('all-before.test.ts')?.culprit?.line).toBe(lineOf('all-before.test.ts', 4))
  })

  test('those that come through, throw, or have no limit are as they were', () => {
    expect(hangOf('healthy.test.ts')).toBeUndefined()
    expect(
      ['one', 'two', 'three', 'no limit four'].map((name) => outcome.status.get(`healthy.test.ts > ${name}`)),
    ).toEqual(Array(4).fill('passed'))
    expect(hangOf('throws.test.ts')).toBeUndefined()
    expect(outcome.assertions.get('throws.test.ts > fails')?.failureMessages.join()).toContain('of the hook')
  })
})
