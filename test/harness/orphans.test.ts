import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OrphanEntry } from '../../src/dump/run-record.ts'
import { makeProject, type Project } from '../project.ts'
import { config, type Outcome, runSuite } from './suite.ts'

/** Programs end by themselves after this, whatever happens to us. */
const SECONDS = 45

const files: Record<string, string> = {
  'kinds.test.ts': `
    import { execSync, fork, spawn, spawnSync } from 'node:child_process'
    import { once } from 'node:events'
    import { writeFileSync } from 'node:fs'
    import { expect, test } from 'vitest'
    function start() {
      return spawn('sleep', ['${SECONDS}.01'], { stdio: 'ignore' })
    }
    test('plain', () => {
      start() 
    })
    test('healthy', async () => {
      await once(spawn('true', []), 'exit')
    })
    test('double fork', async () => {
      const shell = spawn('sh', ['-c', '(setsid sleep ${SECONDS}.02 &) ; exit 0'], { stdio: 'ignore' })
      await once(shell, 'exit')
    })
    test('left by a synchronous call', () => {
      execSync('sleep ${SECONDS}.03 >/dev/null 2>&1 &', { stdio: 'ignore' })
    })
    test('ignores SIGTERM', async () => {
      const child = spawn('sh', ['-c', 'trap "" TERM; echo up; while :; do sleep 0.5; done; : ${SECONDS}.04'])
      await once(child.stdout, 'data')
      child.unref()
    })
    test('still healthy', () => {
      expect(spawnSync('true').status).toBe(0)
    })`,
  'thread.test.ts': `
    import { once } from 'node:events'
    import { setTimeout as pause } from 'node:timers/promises'
    import { Worker } from 'node:worker_threads'
    import { expect, test } from 'vitest'
    test('before', () => pause(30))
    test('starts it in a thread of its own', async () => {
      await pause(30)
      const code = 'const { spawn } = require("node:child_process");' +
        'const child = spawn("sleep", ["${SECONDS}.51"], { stdio: "ignore", detached: true });' +
        'child.unref(); require("node:worker_threads").parentPort.postMessage(child.pid)'
      const thread = new Worker(code, { eval: true })
      const [pid] = await once(thread, 'message')
      await thread.terminate()
      expect(pid).toBeGreaterThan(0)
      await pause(30)
    })
    test('after', () => pause(30))`,
  'scopes.test.ts': `
    import { spawn } from 'node:child_process'
    import { once } from 'node:events'
    import { afterAll, beforeAll, expect, test } from 'vitest'
    import { keep } from 'harrow/vitest'
    let before, lazy
    beforeAll(() => { before = spawn('sleep', ['${SECONDS}.11']) })
    afterAll(async () => {
      for (const child of [before, lazy]) { child.kill(); await once(child, 'exit') }
    })
    test('starts what others share', () => {
      lazy = spawn('sleep', ['${SECONDS}.12'])
      keep(spawn('sleep', ['${SECONDS}.13'], { stdio: 'ignore' }))
    })
    test('uses it', () => {
      expect(lazy.exitCode).toBe(null)
      expect(lazy.signalCode).toBe(null)
    })
    test('kills without waiting', () => {
      spawn('sleep', ['${SECONDS}.14']).kill()
    })`,
  'hook.test.ts': `
    import { spawn } from 'node:child_process'
    import { beforeAll, test } from 'vitest'
    beforeAll(() => {
      spawn('sleep', ['${SECONDS}.21'], { stdio: 'ignore' })
    })
    test('does nothing', () => {})`,
  'reaper.test.ts': `
    import { spawn } from 'node:child_process'
    import { expect, test as base } from 'vitest'
    import { fixtures, reap } from 'harrow/vitest'
    const test = base.extend(fixtures)
    let first, kept
    const gone = (child) => { try { process.kill(child.pid, 0); return false } catch { return true } }
    test('with the fixture', ({ reaper }) => {
      first = spawn('sleep', ['${SECONDS}.31'], { stdio: 'ignore' })
      kept = spawn('sleep', ['${SECONDS}.32'], { stdio: 'ignore' })
      reaper.keep(kept, { until: 'file' })
    })
    test('is over when its test is', () => {
      expect(first.signalCode).toBe('SIGTERM')
      expect(kept.exitCode ?? kept.signalCode).toBe(null)
    })
    test('by hand', async () => {
      const child = spawn('sleep', ['${SECONDS}.33'], { stdio: 'ignore' })
      const reaped = await reap()
      expect(reaped.map((one) => one.pid)).toEqual([child.pid])
      expect(gone(child)).toBe(true)
      expect(kept.exitCode ?? kept.signalCode).toBe(null)
    })`,
  'concurrent.test.ts': `
    import { spawn } from 'node:child_process'
    import { describe, test } from 'vitest'
    const pause = () => new Promise((resolve) => setTimeout(resolve, 20))
    describe.concurrent('at once', () => {
      test('one', async () => { await pause(); await pause() })
      test('two', async () => {
        await pause()
        spawn('sleep', ['${SECONDS}.41'], { stdio: 'ignore' })
        await pause()
      })
    })`,
}

const of = (record: OrphanEntry[], command: string): OrphanEntry[] => record.filter((o) => o.command.includes(command))

describe.each(['forks', 'threads'])('processes that outlive their test (%s)', (pool) => {
  let project: Project
  let warn: Outcome
  let error: Outcome

  beforeAll(async () => {
    project = makeProject({ ...files, 'vitest.config.ts': config('', `pool: '${pool}', testTimeout: 5000`) })
    warn = await runSuite(project)
    project.write('vitest.config.ts', config("{ orphans: 'error' }", `pool: '${pool}', testTimeout: 5000`))
    error = await runSuite(project, ['kinds', 'hook'])
  }, 180_000)
  afterAll(() => project.remove())

  test.each([
    ['.01', 'plain', 7],
    ['.02', 'double fork', 16],
    ['.03', 'left by a synchronous call', 20],
    ['.04', 'ignores SIGTERM', 23],
  ])('the process %s is laid to the test "%s" and to the line that started it', (mark, title, line) => {
    const found = of(warn.record.orphans, `${SECONDS}${mark}`)
    expect(found.map((o) => [o.file, o.test, o.class, o.created?.path, o.created?.line])).toEqual([
      ['kinds.test.ts', [title], 'orphan-process', 'kinds.test.ts', line],
    ])
  })

  test('one that ignores SIGTERM is ended by SIGKILL, the others by SIGTERM', () => {
    const actions = ['.01', '.02', '.03', '.04'].map((mark) => of(warn.record.orphans, `${SECONDS}${mark}`)[0]?.action)
    expect(actions).toEqual(['SIGTERM', 'SIGTERM', 'SIGTERM', 'SIGKILL'])
  })

  test('what a hook has started is laid to the hook, with its line', () => {
    const [one] = of(warn.record.orphans, `${SECONDS}.21`)
    expect(one).toMatchObject({ file: 'hook.test.ts', test: null, hook: 'beforeAll', created: { line: 5 } })
    expect(one?.diagnosis).toContain('the beforeAll hook of hook.test.ts left process')
  })

  // What a thread of a worker thread starts goes back to nobody, and is found at the end of the run.
  test.runIf(pool === 'forks')('what a thread of the test has started is laid to the test that ran then', () => {
    const [one] = of(warn.record.orphans, `${SECONDS}.51`)
    expect(one).toMatchObject({ file: 'thread.test.ts', test: ['starts it in a thread of its own'] })
    expect(one?.diagnosis).toContain('"starts it in a thread of its own" left process')
  })

  test('children of hooks, shared, kept and killed ones are no findings', () => {
    expect(of(warn.record.orphans, `${SECONDS}.1`)).toEqual([])
    expect([...warn.status].filter(([name]) => name.startsWith('scopes')).map(([, status]) => status)).toEqual([
      'passed',
      'passed',
      'passed',
    ])
  })

  test('the fixture ends them with the test, keep(child, { until: "file" }) with the file, reap() at once', () => {
    expect(of(warn.record.orphans, `${SECONDS}.3`).map((o) => o.test)).toEqual([
      ['with the fixture'],
      ['with the fixture'],
    ])
    expect(warn.status.get('reaper.test.ts > is over when its test is')).toBe('passed')
    expect(warn.status.get('reaper.test.ts > by hand')).toBe('passed')
  })

  test('of concurrent tests the one is named whose lines started it', () => {
    expect(of(warn.record.orphans, `${SECONDS}.41`).map((o) => o.test)).toEqual([['at once', 'two']])
  })

  test('a warning changes no result', () => {
    expect(warn.run.code).toBe(0)
    expect(new Set(warn.status.values())).toEqual(new Set(['passed']))
    expect(warn.run.output).toContain('ORPHAN')
  })

  test('lines wrap, and the number at the end counts those below as well', () => {
    // Also what the last worker leaves, which is found when vitest closes.
    const ended = warn.record.orphans.filter(({ action }) => action !== 'none')
    const all = ended.map(({ diagnosis }) => 1 + Number(/(\d+) more below it/.exec(diagnosis)?.[1] ?? 0))
    expect(warn.run.output).toMatch(/ ORPHAN .{20,100}\n {3}\S/)
    expect(warn.run.output).toContain(`processes ended  ${all.reduce((sum, one) => sum + one, 0)}`)
  })

  test("orphans: 'error' fails the very tests that left them", () => {
    expect(error.run.code).toBe(1)
    const status = Object.fromEntries([...error.status].filter(([name]) => name.startsWith('kinds')))
    expect(status).toEqual({
      'kinds.test.ts > plain': 'failed',
      'kinds.test.ts > healthy': 'passed',
      'kinds.test.ts > double fork': 'failed',
      'kinds.test.ts > left by a synchronous call': 'failed',
      'kinds.test.ts > ignores SIGTERM': 'failed',
      'kinds.test.ts > still healthy': 'passed',
    })
    expect(error.assertions.get('kinds.test.ts > double fork')?.failureMessages.join()).toMatch(
      /OrphanError: "double fork" left process \d+ behind .*kinds\.test\.ts:16/s,
    )
  })

  test('what a hook left fails the file', () => {
    expect(error.run.output).toMatch(/FAIL +hook\.test\.ts/)
    expect(error.run.output).toContain('OrphanError: the beforeAll hook of hook.test.ts left process')
  })

  test('nothing outlives the runs', () => {
    expect([...warn.run.survivors, ...error.run.survivors]).toEqual([])
  })
})

test('what a hung test did not come to close or to end is no finding of its own', { timeout: 60_000 }, async () => {
  const project = makeProject({
    'a.test.ts': `
      import { spawn } from 'node:child_process'
      import { once } from 'node:events'
      import { test } from 'vitest'
      test('hangs', async () => {
        setInterval(() => {}, 1000)
        await once(spawn('sleep', ['${SECONDS}.61']), 'exit')
      })
      test('leaks', () => { setInterval(() => {}, 2000) })`,
    'vitest.config.ts': config(''),
  })
  try {
    const { run, record } = await runSuite(project)
    expect(record.hangs.map((hang) => hang.test)).toEqual([['hangs']])
    expect(record.orphans).toEqual([])
    expect(record.leaks.map((leak) => leak.test)).toEqual([['leaks']])
    expect(run.survivors).toEqual([])
  } finally {
    project.remove()
  }
})

test("a worker that starts during a synchronous call of another one is nobody's orphan", {
  timeout: 90_000,
}, async () => {
  const busy = `
    import { execSync, spawnSync } from 'node:child_process'
    import { test } from 'vitest'
    for (let i = 0; i < 4; i++) test('waits for a child ' + i, () => { execSync('sleep 0.3'); spawnSync('sleep', ['0.1']) })`
  const project = makeProject({
    ...Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`busy${i}.test.ts`, busy])),
    'vitest.config.ts': config('', 'testTimeout: 20_000'),
  })
  try {
    const { run, record, status } = await runSuite(project)
    expect(run.code, run.output).toBe(0)
    expect(record.orphans).toEqual([])
    expect(status.size).toBe(24)
  } finally {
    project.remove()
  }
})

test('a helper that serves its worker is left to it, from file to file', { timeout: 60_000 }, async () => {
  const file = `
    import { spawn } from 'node:child_process'
    import { once } from 'node:events'
    import { expect, test } from 'vitest'
    test('asks the helper', async () => {
      if (!globalThis.helper) {
        globalThis.helper = spawn('cat', [], { stdio: ['pipe', 'pipe', 'inherit'] })
        for (const one of [helper, helper.stdin, helper.stdout]) one.unref()
      }
      helper.stdin.write('hello')
      helper.stdout.ref()
      expect(String((await once(helper.stdout, 'data'))[0])).toBe('hello')
      helper.stdout.unref()
    })`
  const project = makeProject({
    'a.test.ts': file,
    'b.test.ts': file,
    'vitest.config.ts': config('', 'isolate: false, maxWorkers: 1'),
  })
  try {
    const { run, record } = await runSuite(project)
    expect(run.code).toBe(0)
    expect(record.orphans).toEqual([])
    expect(run.survivors).toEqual([])
  } finally {
    project.remove()
  }
})

test("orphans: 'off' reports none, and the run still ends them", { timeout: 60_000 }, async () => {
  const project = makeProject({
    'off.test.ts': files['hook.test.ts']!,
    'vitest.config.ts': config("{ orphans: 'off' }"),
  })
  try {
    const { run, record } = await runSuite(project)
    expect(record.orphans).toEqual([])
    expect(run.code).toBe(0)
    expect(run.survivors).toEqual([])
  } finally {
    project.remove()
  }
})

test('a project may have a severity of its own', { timeout: 60_000 }, async () => {
  const project = makeProject({
    'a/left.test.ts': files['hook.test.ts']!,
    'b/left.test.ts': files['hook.test.ts']!,
    'vitest.config.ts': `
      import { harrow } from 'harrow/vitest'
      export default {
        test: {
          projects: [
            { plugins: [harrow({ orphans: 'error' })], test: { name: 'strict', include: ['a/*.test.ts'] } },
            { plugins: [harrow({ orphans: 'warn' })], test: { name: 'lax', include: ['b/*.test.ts'] } },
          ],
        },
      }`,
  })
  try {
    const { run, record } = await runSuite(project)
    expect(record.orphans.map((o) => o.file).sort()).toEqual(['a/left.test.ts', 'b/left.test.ts'])
    expect(run.output).toMatch(/FAIL.*a\/left\.test\.ts/)
    expect(run.output).not.toMatch(/FAIL.*b\/left\.test\.ts/)
    expect(run.code).toBe(1)
  } finally {
    project.remove()
  }
})
