import { afterEach, expect, test } from 'vitest'
import { makeProject, type Project } from '../project.ts'
import { config, runSuite } from './suite.ts'

let project: Project | undefined
afterEach(() => {
  project?.remove()
  project = undefined
})

test('a worker that does not stop is blamed on what its tests have left open', async () => {
  project = makeProject({
    'a.test.ts': `
      import { test } from 'vitest'
      test('starts a heartbeat', () => {
        setInterval(() => {}, 50)
      })`,
    'env.ts': `
      const never = () => new Promise((resolve) => { globalThis.kept = resolve })
      export default { name: 'e', viteEnvironment: 'ssr', setup: () => ({ teardown: never }) }`,
    'vitest.config.ts': config("{ leaks: 'off', hang: { grace: 300, stop: 1500 } }", "environment: './env.ts'"),
  })
  const { record, run } = await runSuite(project)
  expect(record.hangs, run.output).toMatchObject([
    { phase: 'after-tests', class: 'leaked-handle-after-tests', culprit: { path: 'a.test.ts', line: 4 } },
  ])
  expect(record.hangs[0]?.diagnosis).toMatch(/Interval \(every 50 ms\) is still open, made by `setInterval\(/)
}, 90_000)

test.skipIf(process.platform !== 'linux')(
  'a child that has inherited the output of the worker is named as what vitest waits for',
  async () => {
    project = makeProject({
      'a.test.ts': `
      import { spawn } from 'node:child_process'
      import { test } from 'vitest'
      test('starts a watcher', () => {
        spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'inherit'] })
      })
      test('starts one with an output of its own', () => {
        spawn('sleep', ['61'], { stdio: 'ignore' })
      })`,
      'vitest.config.ts': config('{}'),
    })
    const { record, run } = await runSuite(project)
    const of = (command: string) => record.orphans.find((one) => one.command === command)?.diagnosis
    expect(run.output).not.toContain('Timeout terminating')
    expect(of('sleep 60'), run.output).toContain(
      "a.test.ts:5:9; it has inherited the worker's stderr, for whose end vitest waits when it ends a worker; it",
    )
    expect(of('sleep 61')).not.toContain('inherited')
  },
  90_000,
)
