import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeProject, type Project } from '../project.ts'
import { config, type Outcome, readRecordFile, runSuite } from './suite.ts'

/** Tests that take away what a watcher could lean on. */
const files: Record<string, string> = {
  'replaces.test.ts': `
    import { test } from 'vitest'
    const rudely = () => {
      globalThis.Date = class { static now() { return 0 } } as never
      globalThis.setTimeout = (() => 0) as never
      globalThis.clearTimeout = (() => 0) as never
      globalThis.queueMicrotask = (() => 0) as never
      performance.now = () => 0
      process.on = (() => process) as never
      process.send = undefined as never
      JSON.stringify = (() => 'x') as never
    }
    test('replaces globals and loops', () => {
      rudely()
      for (;;) {}
    })
    test('replaces globals and waits', async () => {
      const held: unknown[] = ((globalThis as any).held = [])
      rudely()
      await new Promise((r) => held.push(r))
    })
    test('after', () => {})`,
  'fakes.test.ts': `
    import { test, vi } from 'vitest'
    test('fakes all timers and loops', () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate', 'Date', 'performance', 'queueMicrotask'] })
      for (;;) {}
    })
    test('after', () => {})`,
  'signals.test.ts': `
    import { test } from 'vitest'
    test('removes all listeners and loops', () => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'exit', 'disconnect']) process.removeAllListeners(name)
      for (;;) {}
    })
    test('after', () => {})`,
  'sigusr1.test.ts': `
    import { test } from 'vitest'
    test('listens to SIGUSR1 and loops', () => {
      process.on('SIGUSR1', () => {})
      for (;;) {}
    })
    test('after', () => {})`,
  'stubs.test.ts': `
    import fs from 'node:fs'
    import { test, vi } from 'vitest'
    test('takes disk and process away and waits', async () => {
      for (const name of ['readFileSync', 'openSync', 'statSync', 'lstatSync', 'realpathSync', 'existsSync']) {
        vi.spyOn(fs, name as 'readFileSync').mockImplementation(() => { throw new Error('no disk') })
      }
      for (const name of ['process', 'Buffer', 'URL', 'performance']) vi.stubGlobal(name, undefined)
      await new Promise((kept) => Object.assign(globalThis, { kept }))
    })
    test('after', () => {})`,
  'exits.test.ts': `
    import { test } from 'vitest'
    test('calls process.exit', () => { process.exit(3) })
    test('really exits', async () => {
      await new Promise((r) => setTimeout(r, 400));
      (process as any).reallyExit(3)
    })`,
  'killed.test.ts': `
    import { test } from 'vitest'
    test('is heard of last', async () => { await new Promise((r) => setTimeout(r, 400)) })
    test('dies at once', () => { process.kill(process.pid, 'SIGKILL'); for (;;) {} })`,
}

describe('tests that break what is around them', () => {
  let project: Project
  let outcome: Outcome

  beforeAll(async () => {
    project = makeProject({ ...files, 'vitest.config.ts': config(`{ hang: { grace: 400, lost: 'off' } }`) })
    outcome = await runSuite(project)
  }, 120_000)
  afterAll(() => project?.remove())

  test('do not keep the run from ending', () => {
    expect(outcome.run.late, outcome.run.output).toBe(false)
    expect(outcome.run.code, outcome.run.output).toBe(1)
    expect(outcome.run.survivors).toEqual([])
  })

  test('are named with the line at which they hang', () => {
    const lines = Object.fromEntries(outcome.record.hangs.map((h) => [h.test!.join(' > '), h.culprit?.line]))
    expect(lines).toEqual({
      'replaces globals and loops': 15,
      'replaces globals and waits': 20,
      'fakes all timers and loops': 5,
      'takes disk and process away and waits': 9,
      'removes all listeners and loops': 5,
      // Its stack cannot be had; the message says why.
      'listens to SIGUSR1 and loops': undefined,
    })
  })

  test('what was lost is said', () => {
    const hang = outcome.record.hangs.find((h) => h.file === 'sigusr1.test.ts')!
    expect(hang.diagnosis).toMatch(/its stack could not be taken, because the test listens to SIGUSR1/)
    expect(outcome.run.output).toMatch(/worker of exits\.test\.ts exited with code 3 while "really exits" ran/)
    expect(outcome.run.output).toMatch(/worker of killed\.test\.ts was ended by SIGKILL while "dies at once" ran/)
  })

  test('the tests after them run', () => {
    for (const file of ['replaces', 'fakes', 'stubs', 'signals', 'sigusr1']) {
      expect(outcome.status.get(`${file}.test.ts > after`), file).toBe('passed')
    }
  })
})

describe('a folder for dumps that cannot be written', () => {
  const loop = `
    import { test } from 'vitest'
    test('loops', () => { for (;;) {} })
    test('after', () => {})`

  test.each([
    ['.harrow is a file', '.harrow', /run record was not written/],
    ['.harrow/dumps is a file', '.harrow/dumps', /could not write the dump/],
  ])(
    '%s: the run ends, the hang is named, the loss is said',
    async (_, path, said) => {
      const project = makeProject({ 'loop.test.ts': loop, 'vitest.config.ts': config('{ hang: { grace: 300 } }') })
      try {
        project.write(path, 'in the way')
        const run = await project.vitest([], 60_000)
        expect(run.code, run.output).toBe(1)
        expect(run.output).toMatch(/HANG {2}loop\.test\.ts > loops/)
        expect(run.output).toMatch(/could not write the dump .*not a folder/)
        expect(run.output).toMatch(said)
        expect(readFileSync(join(project.folder, path), 'utf8')).toBe('in the way')
        if (path === '.harrow') return
        expect(readRecordFile(project).hangs).toMatchObject([{ file: 'loop.test.ts', test: ['loops'], dump: null }])
      } finally {
        project.remove()
      }
    },
    90_000,
  )
})

test('a worker that dies when it is stopped does not keep the run from ending', async () => {
  const project = makeProject({
    // vitest alone waits for its answer for a minute.
    'dies.js': `export default {
      name: 'dies',
      viteEnvironment: 'ssr',
      setup: () => ({ teardown() { process.kill(process.pid, 'SIGKILL') } }),
    }`,
    'a.test.ts': `import { test } from 'vitest'\ntest('is well', () => {})`,
    'vitest.config.ts': config('', `environment: './dies.js'`),
  })
  try {
    const run = await project.vitest([], 40_000)
    expect([run.late, run.code], run.output).toEqual([false, 0])
    expect(run.survivors).toEqual([])
  } finally {
    project.remove()
  }
}, 60_000)
