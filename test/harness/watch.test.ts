import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { binOf } from '../../scripts/dev/checkout.ts'
import { endMarked, MARK, marked } from '../../scripts/dev/child.ts'
import { cleanEnv, makeProject, type Project } from '../project.ts'
import { config, readRecordFile } from './suite.ts'

const WAIT_MS = 25_000

const suite = (body: string): string => `
  import { test } from 'vitest'
  test('may hang', async () => {
    ${body}
  })
  test('beside it', () => {})`
const LOOP = suite('for (;;) {}')
const LOST = suite('await new Promise(() => {})')
const FINE = suite('await null')

describe.each(['forks', 'threads'])('vitest --watch, pool %s', (pool) => {
  let project: Project
  let child: ChildProcess
  let exit: Promise<unknown[]>
  let output = ''
  let mark = ''

  beforeEach(() => {
    output = ''
    mark = `watch-test-${process.pid}-${Math.random()}`
    project = makeProject({
      'a.test.ts': LOOP,
      'vitest.config.ts': config(
        `{ hang: { grace: 300, ${pool === 'forks' ? '' : `lost: 'off'`} } }`,
        `pool: '${pool}'`,
      ),
    })
    const tmp = join(project.folder, 'tmp')
    mkdirSync(tmp)
    child = spawn(process.execPath, [binOf('vitest'), '--watch'], {
      cwd: project.folder,
      env: cleanEnv({ [MARK]: mark, TMPDIR: tmp }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    exit = once(child, 'exit')
    child.stdout!.on('data', (text) => (output += text))
    child.stderr!.on('data', (text) => (output += text))
  })
  afterEach(() => {
    endMarked(mark)
    project.remove()
  })

  /** Does `change` and waits for the end of the run behind it; answers with what was printed meanwhile. */
  async function runAfter(change: () => void): Promise<string> {
    const from = output.length
    change()
    await until(() => /W(?:ait|atch)ing for file changes/.test(output.slice(from)))
    return output.slice(from)
  }

  async function until(condition: () => boolean): Promise<void> {
    const end = performance.now() + WAIT_MS
    while (!condition() && performance.now() < end) {
      expect(child.exitCode, output).toBe(null)
      await sleep(20)
    }
    expect(condition(), output).toBe(true)
  }

  const write = (text: string) => runAfter(() => project.write('a.test.ts', text))
  const hangs = () => readRecordFile(project).hangs.map((hang) => [hang.test?.join(' > '), hang.class])
  const folders = () => readdirSync(join(project.folder, 'tmp')).filter((name) => name.startsWith('harrow-'))

  async function end(): Promise<void> {
    child.kill('SIGINT')
    const late = sleep(WAIT_MS, 'late', { ref: false })
    expect(await Promise.race([exit, late]), output).not.toBe('late')
    const deadline = performance.now() + 5000
    while (marked(mark).length > 0 && performance.now() < deadline) await sleep(50)
    expect(marked(mark)).toEqual([])
  }

  test('each run has the hangs of its own, and Ctrl-C leaves nothing behind', async () => {
    const first = await runAfter(() => {})
    expect(first).toMatch(/HANG\s+a\.test\.ts > may hang/)
    expect(first).toMatch(/1 failed \| 1 passed/)
    expect(hangs()).toEqual([['may hang', 'event-loop-blocked']])
    // The worker that span is gone; vitest stays, with the watchdog that it has of its own.
    await until(() => marked(mark).every(({ pid, command }) => pid === child.pid || command === 'vitest-watchdog'))

    const second = await write(FINE)
    expect(second).toMatch(/2 passed/)
    expect(second).not.toMatch(/HANG/)
    expect(hangs()).toEqual([])

    const third = await write(LOST)
    expect(third.match(/HANG/g), third).toHaveLength(1)
    expect(hangs()).toEqual([['may hang', 'lost-promise']])

    const fourth = await write(LOOP)
    expect(fourth.match(/HANG/g), fourth).toHaveLength(1)
    expect(hangs()).toEqual([['may hang', 'event-loop-blocked']])
    await end()
    expect(folders()).toEqual([])
    expect(hangs()).toEqual([['may hang', 'event-loop-blocked']])
  }, 120_000)

  test('a changed config restarts it, with the options of the new one', async () => {
    await runAfter(() => {})
    expect(hangs()).toEqual([['may hang', 'event-loop-blocked']])

    const restarted = await runAfter(() =>
      project.write('vitest.config.ts', config(`{ hang: { grace: 200 }, dumpDir: 'dumps' }`, `pool: '${pool}'`)),
    )
    expect(restarted).toMatch(/Restarting due to config changes/)
    expect(restarted.match(/HANG/g), restarted).toHaveLength(1)
    expect(restarted).toMatch(/dump dumps\/a\.test\.ts/)
    expect(hangs()).toEqual([['may hang', 'event-loop-blocked']])
    expect(folders()).toHaveLength(1)

    expect(await write(FINE)).toMatch(/2 passed/)
    expect(hangs()).toEqual([])
    await end()
    expect(hangs()).toEqual([])
  }, 120_000)
})
