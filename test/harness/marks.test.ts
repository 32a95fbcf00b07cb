import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { cpuHeadroom, regAddr } from '../../harness/index.ts'
import { root } from '../../scripts/dev/checkout.ts'
import { runChild } from '../../scripts/dev/child.ts'
import { SPAWN_METHODS } from '../../src/spawn/methods.ts'
import { inFolder } from '../actor/world.ts'
import { cleanEnv, makeProject, type Project } from '../project.ts'

const CONFIG = `
  import { harrow } from 'harrow/vitest'
  export default { plugins: [harrow()], test: { maxWorkers: 1 } }`
const projects: Project[] = []
afterAll(() => {
  for (const project of projects) project.remove()
})

function project(files: Record<string, string>, config = CONFIG): Project {
  const made = makeProject({ 'vitest.config.ts': config, ...files })
  projects.push(made)
  return made
}

interface Case {
  fullName: string
  status: string
  meta: { harrowSkip?: string }
  failureMessages: string[]
}

/** Runs it and reads vitest's JSON report. */
async function run(made: Project, env: Record<string, string> = {}, args: string[] = []) {
  const result = await made.vitest(
    ['--reporter=verbose', '--reporter=json', '--outputFile=report.json', ...args],
    60_000,
    env,
  )
  const json = JSON.parse(readFileSync(join(made.folder, 'report.json'), 'utf8')) as {
    testResults: { assertionResults: Case[] }[]
  }
  const cases = new Map(
    json.testResults.flatMap(({ assertionResults }) => assertionResults.map((one) => [one.fullName, one])),
  )
  return { ...result, cases }
}

const MARKED = `
  import { appendFileSync } from 'node:fs'
  import { hasNestedActors, marks, noTransport, onlyOnBackend, skipOnBackend, xfailOnBackend } from 'harrow/vitest'
  import { beforeAll, describe, expect, test as base } from 'vitest'
  const touch = (what: string) => appendFileSync('touched', what + '\\n')
  const test = base.extend<{ fx: number }>({ fx: async ({}, use) => { touch('fixture'); await use(1) } })
  test('skipped', skipOnBackend('thread', 'vm', { reason: 'needs real signals' }), ({ fx }) => { touch('body ' + fx) })
  test('by default', skipOnBackend('thread'), () => {})
  test('elsewhere', skipOnBackend('fork', { reason: 'not this one' }), () => {})
  test('only', onlyOnBackend('spawn'), () => {})
  test.each([1, 2])('each %i', skipOnBackend('thread', { reason: 'each' }), () => {})
  test('with more', { ...skipOnBackend('thread', { reason: 'spread' }), timeout: 100 }, () => {})
  test('fails there', xfailOnBackend('thread', { reason: 'not fixed' }), () => { expect(1).toBe(2) })
  test('passes there', xfailOnBackend('thread'), () => {})
  test('on a transport', noTransport('tcp', { reason: 'no files' }), () => {})
  test('both', marks(skipOnBackend('thread', { reason: 'first' }), skipOnBackend('thread', { reason: 'second' }), hasNestedActors()), () => {})
  describe('outer', skipOnBackend('thread', { reason: 'outer wins' }), () => {
    beforeAll(() => touch('beforeAll'))
    test('in', () => {})
    describe('nested', skipOnBackend('fork', { reason: 'no match' }), () => {
      test('in2', () => {})
      test('in3', skipOnBackend('thread', { reason: 'inner' }), () => {})
    })
  })`

describe('marks', () => {
  test('R-702 R-703 R-705 R-707 skip with their reason, at every scope, and run nothing', async () => {
    const made = project({ 'a.test.ts': MARKED })
    const { cases, stdout } = await run(made, { HARROW_BACKEND: 'thread', HARROW_TRANSPORT: 'tcp' })
    const reason = (name: string): unknown => [cases.get(name)?.status, cases.get(name)?.meta.harrowSkip]
    expect(reason('skipped')).toEqual(['skipped', 'needs real signals'])
    expect(reason('by default')).toEqual(['skipped', 'not supported on the backend "thread"'])
    expect(reason('elsewhere')).toEqual(['passed', undefined])
    expect(reason('only')).toEqual(['skipped', 'only for spawn, this is "thread"'])
    expect(reason('each 1')).toEqual(['skipped', 'each'])
    expect(reason('with more')).toEqual(['skipped', 'spread'])
    expect(cases.get('fails there')?.status).toBe('passed')
    expect(cases.get('passes there')?.status).toBe('failed')
    expect(reason('on a transport')).toEqual(['skipped', 'no files'])
    expect(reason('both')).toEqual(['skipped', 'first'])
    for (const name of ['outer in', 'outer nested in2', 'outer nested in3']) {
      expect(reason(name)).toEqual(['skipped', 'outer wins'])
    }
    expect(stdout).toContain('[needs real signals]')
    expect(stdout).toContain('[outer wins]')
    expect(() => readFileSync(join(made.folder, 'touched'))).toThrow('ENOENT')
  })

  test('R-702 run where nothing matches', async () => {
    const made = project({ 'a.test.ts': MARKED })
    const { cases } = await run(made, { HARROW_BACKEND: 'spawn' })
    expect(cases.get('skipped')?.status).toBe('passed')
    expect(cases.get('outer in')?.status).toBe('passed')
    expect(cases.get('fails there')?.status).toBe('failed')
  })

  test('R-703 of a whole file', async () => {
    const made = project({
      'a.test.ts': `
        import { skipOnBackend } from 'harrow/vitest'
        import { describe, test } from 'vitest'
        skipOnBackend.file('spawn', { reason: 'the whole file' })
        test('one', () => {})
        describe('in', () => test('two', () => {}))`,
      'late.test.ts': `
        import { skipOnBackend } from 'harrow/vitest'
        import { test } from 'vitest'
        test('one', () => {})
        skipOnBackend.file('spawn')`,
    })
    const { cases, output } = await run(made)
    expect(cases.get('one')?.status).toBe('skipped')
    expect(cases.get('in two')?.status).toBe('skipped')
    expect(output).toContain('[the whole file]')
    expect(output).toContain('skipOnBackend.file() comes before the tests of its file')
  })

  test('R-704 R-601 a name that is none fails the file that it stands in, with its place', async () => {
    const made = project({
      'typo.test.ts': `import { skipOnBackend } from 'harrow/vitest'\nimport { test } from 'vitest'\ntest('x', skipOnBackend('threed' as never), () => {})`,
      'seed.test.ts': `import { skipOnBackend } from 'harrow/vitest'\nimport { test } from 'vitest'\ntest('x', skipOnBackend('subint' as never), () => {})`,
    })
    const { code, output } = await run(made)
    expect(code).toBe(1)
    expect(output).toContain('unknown backend "threed"')
    expect(output).toContain(SPAWN_METHODS.map((name) => `"${name}"`).join(', '))
    expect(output).toContain('typo.test.ts:3:11')
    expect(output).toContain('"thread" is meant here')
  })
})

describe('the backend of a run', () => {
  test.each<[string, string, string?]>([
    ['threed', 'unknown spawn backend "threed"'],
    ['zygote_threads', 'cannot be used'],
    ['thread_fork', 'docs/backends/thread_fork.md'],
    ['spawn', 'HARROW_LOGLEVEL expects one of critical, ', 'nope'],
  ])('R-605 R-701 R-608 %s ends it with one line and no test', async (backend, words, level = '') => {
    const made = project({ 'a.test.ts': `import { test } from 'vitest'\ntest('never', () => { console.log('RAN') })` })
    const { code, output } = await made.vitest([], 30_000, { HARROW_BACKEND: backend, HARROW_LOGLEVEL: level })
    expect(code).toBe(2)
    expect(output).toContain(words)
    expect(output).not.toContain('RAN')
    expect(output).not.toMatch(/^\s+at /m)
  })

  test('R-606 R-701 is that of the environment, else of the option', async () => {
    const files = {
      'a.test.ts': `import { activeBackend } from 'harrow/vitest'\nimport { test } from 'vitest'\ntest('x', () => console.log('ON=' + activeBackend()))`,
    }
    const config = CONFIG.replace('harrow()', `harrow({ backend: 'fork' })`)
    expect((await project(files, config).vitest([], 30_000)).output).toContain('ON=fork')
    const { output } = await project(files, config).vitest([], 30_000, { HARROW_BACKEND: 'thread' })
    expect(output).toContain('ON=thread')
    expect(output).toContain("HARROW_BACKEND=thread beats the option backend: 'fork'")
  })

  test('a matrix runs the suite once a backend', async () => {
    const config = `
      import { harrow } from 'harrow/vitest'
      import { MatrixReporter } from 'harrow/reporters'
      export default { plugins: [harrow({ matrix: ['spawn', 'thread'] })], test: { maxWorkers: 1, reporters: ['default', new MatrixReporter({ outputFile: 'matrix.json' })] } }`
    const made = project(
      {
        'a.test.ts': `
          import { activeBackend, skipOnBackend } from 'harrow/vitest'
          import { expect, test } from 'vitest'
          test('runs', () => { expect(['spawn', 'thread']).toContain(activeBackend()) })
          test('not there', skipOnBackend('thread', { reason: 'no signals' }), () => {})`,
      },
      config,
    )
    const { code, output } = await made.vitest([], 60_000)
    expect(code, output).toBe(0)
    expect(output).toContain('[1] no signals')
    const table = JSON.parse(readFileSync(join(made.folder, 'matrix.json'), 'utf8')) as {
      backends: string[]
      tests: object[]
    }
    expect(table.backends.toSorted()).toEqual(['spawn', 'thread'])
    expect(table.tests).toContainEqual({
      file: 'a.test.ts',
      test: 'not there',
      cells: { spawn: { state: 'passed' }, thread: { state: 'skipped', reason: 'no signals' } },
    })
  })

  test('R-702 the reason reaches JUnit', async () => {
    const config = `
      import { harrow } from 'harrow/vitest'
      import { JUnitReporter } from 'harrow/reporters'
      export default { plugins: [harrow()], test: { reporters: [new JUnitReporter({ outputFile: 'junit.xml' })] } }`
    const made = project(
      {
        'a.test.ts': `import { skipOnBackend } from 'harrow/vitest'\nimport { test } from 'vitest'\ntest('x', skipOnBackend('spawn', { reason: 'a < b' }), () => {})`,
      },
      config,
    )
    await made.vitest([], 30_000)
    expect(readFileSync(join(made.folder, 'junit.xml'), 'utf8')).toContain('<skipped message="a &lt; b"/>')
  })
})

describe('actorTest', () => {
  test('R-715 R-716 R-723 R-717 gives each test a tree of its own, and takes it down', async () => {
    const made = project({
      'actors.ts': `export async function add(a: number, b: number) { return a + b }`,
      'a.test.ts': `
        import { currentActor, sleep } from 'harrow'
        import { actorTest, regAddr } from 'harrow/vitest'
        import { expect, test } from 'vitest'
        actorTest('calls', async ({ nursery, root, backend }) => {
          expect(currentActor()).toBe(root)
          process.env.HARROW_LEAKED = 'yes'
          const portal = await nursery.startActor<typeof import('./actors.ts')>('adder', { module: new URL('./actors.ts', import.meta.url) })
          expect(await portal.call('add', 1, 2)).toBe(3)
          expect(backend).toBe('thread')
        })
        test('is clean', () => { expect(process.env.HARROW_LEAKED).toBe(undefined); expect(() => currentActor()).toThrow() })
        actorTest('has a limit of its own', { timeout: 100 }, async ({ nursery }) => {
          await nursery.startActor('idle')
          await sleep(60_000)
        })
        actorTest('and the next one is not harmed', async ({ nursery }) => { await nursery.startActor('idle') })
        test('addresses differ', async () => { expect(await regAddr()).not.toBe(await regAddr()) })`,
    })
    const { cases, output } = await run(made, { HARROW_BACKEND: 'thread' })
    expect(cases.get('calls')?.status, output).toBe('passed')
    expect(cases.get('is clean')?.status).toBe('passed')
    expect(cases.get('has a limit of its own')?.failureMessages[0]).toContain('took longer than 100 ms')
    expect(cases.get('and the next one is not harmed')?.status).toBe('passed')
    expect(cases.get('addresses differ')?.status).toBe('passed')
  }, 90_000)

  test('R-718 R-824 a tree that could not be taken down fails what comes after, and says so', async () => {
    const made = project({
      'a.test.ts': `
        import { openRoot } from 'harrow'
        import { actorTest, regAddr } from 'harrow/vitest'
        import { test } from 'vitest'
        test('leaves its root open', async () => {
          const registryAddrs = [await regAddr()]
          await new Promise((opened) => void openRoot({ registryAddrs }, () => { opened(); return new Promise(() => {}) }))
        })
        actorTest('one', async () => {})
        actorTest('two', async () => {})`,
    })
    const { cases } = await run(made)
    expect(cases.get('one')?.failureMessages[0]).toMatch(/is already open in this process/)
    expect(cases.get('two')?.failureMessages[0]).toMatch(/contaminated: the actor tree/)
  })

  test('R-724 R-825 a daemon is ready when it says so, shares an address when told to, and ends by SIGINT', async () => {
    const made = project({
      'a.test.ts': `
        import { findActor, waitForActor } from 'harrow'
        import { actorTest, withDaemon } from 'harrow/vitest'
        import { expect, test } from 'vitest'
        actorTest('finds it', async () => {
          await withDaemon({}, async ({ regAddr }) => {
            const portal = await findActor('daemon', { registryAddrs: [regAddr] })
            expect(portal?.aid.name).toBe('daemon')
            await portal?.close()
          })
        })
        actorTest('is joined at its own address', async ({ regAddr }) => {
          await withDaemon({ regAddr }, async ({ pid }) => {
            const portal = await waitForActor('daemon')
            expect(portal.aid.pid).toBe(pid)
            await portal.close()
          })
        })
        test('a daemon that dies is told', async () => {
          await expect(withDaemon({ modules: ['file:///no/such/module.js'] }, async () => {})).rejects.toThrow(/died before it was ready/)
        })`,
    })
    const { cases, output } = await run(made)
    expect(
      [...cases.values()].map(({ status }) => status),
      output,
    ).toEqual(['passed', 'passed', 'passed'])
  }, 90_000)
})

describe('the pool', () => {
  test('R-719 R-720 no cap is set on tests, and process actors work in both pools', async () => {
    for (const pool of ['forks', 'threads']) {
      const made = project({
        'actors.ts': `export async function pid() { return process.pid }`,
        'a.test.ts': `
          import { actorTest } from 'harrow/vitest'
          import { expect, test } from 'vitest'
          test('limit', ({ task }) => { expect(task.timeout).toBe(5000) })
          actorTest('process', async ({ nursery }) => {
            const portal = await nursery.startActor<typeof import('./actors.ts')>('p', { module: new URL('./actors.ts', import.meta.url) })
            expect(await portal.call('pid')).not.toBe(process.pid)
          })`,
      })
      const { cases, output } = await run(made, {}, [`--pool=${pool}`])
      expect(
        [...cases.values()].map(({ status }) => status),
        output,
      ).toEqual(['passed', 'passed'])
    }
  }, 60_000)

  test('R-725 logs of actors that a failed test leaves are named', async () => {
    const made = project({
      'actors.ts': `export async function die() { console.error('my last words'); process.exit(3) }`,
      'a.test.ts': `
        import { actorTest } from 'harrow/vitest'
        actorTest('dies', async ({ nursery }) => {
          const portal = await nursery.startActor<typeof import('./actors.ts')>('mortal', { module: new URL('./actors.ts', import.meta.url) })
          await portal.call('die')
        })`,
    })
    const { cases, output } = await run(made)
    expect(cases.get('dies')?.failureMessages[0]).toContain('my last words')
    expect(output).toMatch(/log of an actor: .*mortal\.\w+\.log/)
  })

  test('R-701 R-729 R-829 harrow test chooses the backend, repeats a selection and tells how often it fails', async () => {
    const made = project({
      'a.test.ts': `import { activeBackend } from 'harrow/vitest'\nimport { expect, test } from 'vitest'\ntest('which', () => console.log('ON=' + activeBackend()))\ntest('flaky', () => { expect(Number(process.env.HARROW_HAMMER) % 3).not.toBe(0) })`,
    })
    const { stdout, output, code } = await runChild(
      process.execPath,
      [join(root, 'dist/scripts/harrow.js'), 'test', '--hammer=3', '--streams', '2', '--json'],
      {
        cwd: made.folder,
        env: cleanEnv(),
        limitMs: 60_000,
      },
    )
    expect(JSON.parse(stdout)).toMatchObject({ runs: 3, failed: 1, streams: 2 })
    expect(output).toMatch(/^bad {2}run \d of 3$/m)
    expect(code).toBe(1)
    const passed = await runChild(
      process.execPath,
      [join(root, 'dist/scripts/harrow.js'), 'test', '--backend', 'thread', '-t', 'which'],
      {
        cwd: made.folder,
        env: cleanEnv(),
        limitMs: 60_000,
      },
    )
    expect(passed.output).toContain('ON=thread')
    expect(passed.code).toBe(0)
    const unknown = await runChild(
      process.execPath,
      [join(root, 'dist/scripts/harrow.js'), 'test', '--backend=threed'],
      { cwd: made.folder, env: cleanEnv(), limitMs: 60_000 },
    )
    expect([unknown.code, unknown.output.includes('unknown spawn backend "threed"')]).toEqual([2, true])
  }, 90_000)
})

describe('addresses and headroom', () => {
  test('R-721 R-722 R-822 R-823 no address is given twice', async () => {
    const addresses = await Promise.all(Array.from({ length: 200 }, (_, n) => regAddr(n % 10 === 0 ? 'tcp' : 'uds')))
    expect(new Set(addresses).size).toBe(200)
    for (const address of addresses) {
      const port = /^tcp:.*:(\d+)$/.exec(address)?.[1]
      if (port) expect(Number(port)).toBeGreaterThanOrEqual(1024)
    }
  })

  test('R-726 a limited clock gives more time', async () => {
    await inFolder(async (folder) => {
      const { mkdirSync, writeFileSync } = await import('node:fs')
      const set = (limit: string): number => {
        mkdirSync(`${folder}/cpu0/cpufreq`, { recursive: true })
        writeFileSync(`${folder}/cpu0/cpufreq/scaling_max_freq`, limit)
        writeFileSync(`${folder}/cpu0/cpufreq/cpuinfo_max_freq`, '1000000')
        return cpuHeadroom(folder, false)
      }
      expect(set('1000000')).toBe(1)
      expect(set('500000')).toBe(2)
      expect(set('100')).toBe(4)
      expect(set('0')).toBe(1)
      expect(cpuHeadroom(`${folder}/missing`, false)).toBe(1)
      expect(cpuHeadroom(`${folder}/missing`, true)).toBe(2)
    })
  })
})
