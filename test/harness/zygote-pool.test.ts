import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { binOf } from '../../scripts/dev/checkout.ts'
import { identify, isRunning } from '../../src/process/identity.ts'
import { backend } from '../../src/spawn/zygote/parent.ts'
import { cleanEnv, makeProject, type Project } from '../project.ts'
import { config, type Outcome, runSuite } from './suite.ts'

const able = backend.available()

/** Each file says who it is: a fork has a zygote as its parent. */
const WHO = `
    import { appendFileSync, readFileSync } from 'node:fs'
    const parent = readFileSync('/proc/' + process.ppid + '/comm', 'utf8').trim()
    appendFileSync('who.txt', [import.meta.url.split('/').at(-1), parent, Math.random(), crypto.randomUUID()].join(' ') + '\\n')`

const files: Record<string, string> = {
  'dep.ts': `export const answer = () => 42`,
  'features.test.ts': `${WHO}
    import { execFileSync, spawn } from 'node:child_process'
    import { once } from 'node:events'
    import { readlinkSync } from 'node:fs'
    import { createServer } from 'node:http'
    import { Worker } from 'node:worker_threads'
    import { expect, onTestFinished, test, vi } from 'vitest'
    import { answer } from './dep.ts'
    vi.mock('./dep.ts', () => ({ answer: vi.fn(() => 7) }))

    test('mocks', () => expect([answer(), vi.mocked(answer).mock.calls.length]).toEqual([7, 1]))
    test('snapshots in a file', () => expect({ a: [1, 2] }).toMatchSnapshot())
    test('snapshots inline', () => expect([1]).toMatchInlineSnapshot(\`
      [
        1,
      ]
    \`))
    test('says something', () => {
      console.log('to the console')
      process.stdout.write('raw to stdout\\n')
      process.stderr.write('raw to stderr\\n')
    })
    test('who it is', () => {
      expect(process.pid).toBe(Number(readlinkSync('/proc/self')))
      expect(process.cwd()).toBe(process.env.EXPECTED_CWD)
      expect(process.execArgv.join(' ')).not.toContain('single-threaded')
      expect([process.connected, typeof process.send]).toEqual([true, 'function'])
    })
    test('environment', () => {
      expect([process.env.OF_PROJECT, process.env.VITEST, import.meta.env.MODE]).toEqual(['yes', 'true', 'test'])
      const shown = readFileSync('/proc/self/environ', 'utf8').split('\\0')
      expect(shown.filter((line) => line.startsWith('HARROW_MEMBER='))).toEqual(['HARROW_MEMBER=' + process.env.HARROW_MEMBER])
    })
    test('child processes', async () => {
      expect(execFileSync(process.execPath, ['-p', '1 + 1'], { encoding: 'utf8' })).toBe('2\\n')
      const [code] = await once(spawn('sh', ['-c', 'exit 3']), 'exit')
      expect(code).toBe(3)
      const [, signal] = await once(spawn('sh', ['-c', 'kill -9 $$']), 'exit')
      expect(signal).toBe('SIGKILL')
    }, 10_000)
    test('threads', async () => {
      const worker = new Worker('require("node:worker_threads").parentPort.postMessage(1 + 1)', { eval: true })
      const [sum] = await once(worker, 'message')
      expect(sum).toBe(2)
      await worker.terminate()
    }, 10_000)
    test('sockets', async () => {
      const server = createServer((_, response) => response.end('served')).listen(0, '127.0.0.1')
      onTestFinished(() => void server.close())
      await once(server, 'listening')
      const answer = await fetch('http://127.0.0.1:' + (server.address() as { port: number }).port)
      expect(await answer.text()).toBe('served')
    }, 10_000)
    test('fake timers', () => {
      vi.useFakeTimers()
      const called = vi.fn()
      setTimeout(called, 60_000)
      vi.advanceTimersByTime(60_000)
      vi.useRealTimers()
      expect(called).toHaveBeenCalledOnce()
    })
    test('signals', async () => {
      const got = once(process, 'SIGUSR2')
      process.kill(process.pid, 'SIGUSR2')
      await got
    })
    test('calls process.exit', () => process.exit(3))`,
  'globals.test.ts': `${WHO}
    test('has globals', () => expect(answering).toBe(true))`,
  'setup.ts': `(globalThis as any).answering = true`,
  'excluded.test.ts': `${WHO}
    import { expect, test } from 'vitest'
    test('runs', () => expect(parent).not.toBe('harrow zygote'))`,
  'aborts.test.ts': `${WHO}
    import { test } from 'vitest'
    test('aborts', () => process.abort())`,
  'exits.test.ts': `${WHO}
    import { test } from 'vitest'
    test('really exits', () => (process as unknown as { reallyExit(code: number): void }).reallyExit(5))`,
  'hangs.test.ts': `${WHO}
    import { test } from 'vitest'
    test('before', () => {})
    function inner(number: number) {
      for (;;) if (number < 0) break
    }
    test('spins', () => {
      process.on('SIGUSR1', () => {})
      inner(4711)
    })
    test('waits', async () => {
      await new Promise(() => {})
    })
    test('after', () => {})`,
}

describe.skipIf(able !== true)('the pool zygote', () => {
  let project: Project
  let outcome: Outcome

  beforeAll(async () => {
    project = makeProject({
      ...files,
      'vitest.config.ts': config(
        `{ pool: 'zygote', zygote: { exclude: ['excluded.*'], wait: true }, hang: { grace: 400 } }`,
        `env: { OF_PROJECT: 'yes', EXPECTED_CWD: process.cwd() }, globals: true, setupFiles: ['./setup.ts']`,
      ),
    })
    outcome = await runSuite(project, ['--update'])
  }, 120_000)
  afterAll(() => project?.remove())

  /** The first worker of each file: later ones run its rest, or trace it. */
  const who = (): Map<string, string[]> => {
    const lines = readFileSync(join(project.folder, 'who.txt'), 'utf8').trimEnd().split('\n')
    const found = lines.map((line): [string, string[]] => {
      const [file, ...rest] = line.replace('harrow zygote', 'harrow-zygote').split(' ')
      return [file!, rest]
    })
    return new Map(found.reverse())
  }

  test('ends, and leaves nothing behind', () => {
    expect(outcome.run.late, outcome.run.output).toBe(false)
    expect(outcome.run.code, outcome.run.output).toBe(1)
    expect(outcome.run.survivors).toEqual([])
    expect(outcome.record.orphans).toEqual([])
  })

  test('forks every file but the excluded ones, each with numbers of its own', () => {
    const found = who()
    const forked = [...found].filter(([, [parent]]) => parent === 'harrow-zygote').map(([file]) => file)
    expect(forked.sort(), outcome.run.output).toEqual(
      ['aborts', 'exits', 'features', 'globals', 'hangs'].map((name) => `${name}.test.ts`),
    )
    const numbers = [...found.values()].flatMap(([, random, uuid]) => [random, uuid])
    expect(new Set(numbers).size).toBe(2 * found.size)
  })

  test('runs tests as child processes do', () => {
    const mine = [...outcome.status].filter(([name]) => /^(features|globals|excluded)/.test(name))
    expect(mine.length).toBe(14)
    const failed = mine.filter(([, status]) => status !== 'passed').map(([name]) => name)
    expect(failed, outcome.run.output).toEqual(['features.test.ts > calls process.exit'])
    const [message] = outcome.assertions.get('features.test.ts > calls process.exit')!.failureMessages
    expect(message).toContain('process.exit unexpectedly called with "3"')
    expect(existsSync(join(project.folder, '__snapshots__/features.test.ts.snap'))).toBe(true)
  })

  test('keeps apart what tests print', () => {
    expect(outcome.run.output).toMatch(/stdout \| features\.test\.ts > says something\nto the console\n/)
    expect(outcome.run.stdout).toContain('raw to stdout\n')
    expect(outcome.run.output).toContain('raw to stderr\n')
    expect(outcome.run.stdout).not.toContain('raw to stderr')
  })

  test('tells how a worker ended', () => {
    expect(outcome.run.output).toMatch(/Worker exited unexpectedly with signal SIGABRT .*aborts\.test\.ts/)
    expect(outcome.run.output).toMatch(/Worker exited unexpectedly with exit code 5 .*exits\.test\.ts/)
  })

  test('diagnoses what hangs, and runs the rest of the file', () => {
    const hangs = outcome.record.hangs.map((hang) => [hang.test?.join(' > '), hang.class, hang.culprit?.line])
    expect(hangs.sort()).toEqual([
      ['spins', 'event-loop-blocked', 8],
      ['waits', 'lost-promise', 15],
    ])
    for (const [name, status] of [
      ['before', 'passed'],
      ['spins', 'failed'],
      ['waits', 'failed'],
      ['after', 'passed'],
    ]) {
      expect(outcome.status.get(`hangs.test.ts > ${name}`), name).toBe(status)
    }
    const { dump } = outcome.record.hangs.find((hang) => hang.class === 'event-loop-blocked')!
    const text = readFileSync(join(project.folder, dump!.replace(/json$/, 'txt')), 'utf8')
    expect(text).toContain('number = 4711')
    expect(text).not.toContain('harrow-wake')
  })
})

/** Bound of a wait for something that takes a moment. */
const SOON_MS = 20_000

async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  const deadline = performance.now() + SOON_MS
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new Error(`${what}: not within ${SOON_MS} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe.skipIf(able !== true)('the pool zygote, when all does not go well', () => {
  let project: Project

  beforeAll(() => {
    project = makeProject({
      'spins.test.ts': `
        import { writeFileSync, renameSync } from 'node:fs'
        import { test } from 'vitest'
        test('spins', () => {
          writeFileSync('pids.new', process.pid + ' ' + process.ppid)
          renameSync('pids.new', 'pids.txt')
          for (;;) {}
        }, 60_000)`,
      'plain.test.ts': `import { test } from 'vitest'\ntest('is well', () => {})`,
      'other.test.ts': `import { test } from 'vitest'\ntest('is well', () => {})`,
      'vitest.config.ts': config(`{ pool: 'zygote', zygote: { wait: true } }`),
    })
  })
  afterAll(() => project?.remove())

  test('nothing outlives a main process that is killed', async () => {
    const args = [binOf('vitest'), 'run', 'spins']
    const main = spawn(process.execPath, args, { cwd: project.folder, env: cleanEnv(), stdio: 'ignore' })
    try {
      const pids = await until('the test runs', () => {
        const path = join(project.folder, 'pids.txt')
        return existsSync(path) ? readFileSync(path, 'utf8').split(' ').map(Number) : undefined
      })
      expect(pids[1]).not.toBe(main.pid)
      const ids = pids.flatMap((pid) => identify(pid) ?? [])
      expect(ids).toHaveLength(2)
      main.kill('SIGKILL')
      await until('worker and zygote end', () => (ids.some((id) => isRunning(id)) ? undefined : true))
    } finally {
      main.kill('SIGKILL')
    }
  }, 60_000)

  test('child processes run where a fork is not possible, and one line says so', async () => {
    const run = await project.vitest(['plain', 'other'], 60_000, { HARROW_NATIVE: 'off' })
    expect(run.code, run.output).toBe(0)
    const lines = run.output.split('\n').filter((line) => line.includes('the pool zygote cannot fork'))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('HARROW_NATIVE=off')
  }, 70_000)
})
