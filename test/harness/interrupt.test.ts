import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { binOf } from '../../scripts/dev/checkout.ts'
import { endMarked, MARK, marked } from '../../scripts/dev/child.ts'
import { cleanEnv, makeProject, type Project } from '../project.ts'
import { config, readRecordFile } from './suite.ts'

const MARKER = 'interrupt-test'

/** The file tells that the test is about to hang: only then is there something to interrupt. */
const files = {
  'hang.test.ts': `
    import { spawn } from 'node:child_process'
    import { writeFileSync } from 'node:fs'
    import { test } from 'vitest'
    test('hangs for long', () => {
      spawn('sleep', ['100'], { detached: true, stdio: 'ignore' }).unref()
      writeFileSync('hanging', '')
      for (;;) {}
    })`,
  'vitest.config.ts': config('{}', 'pool: "forks", testTimeout: 60_000'),
}

describe('a run that is interrupted while a test hangs', () => {
  let project: Project
  let child: ChildProcess
  let output = ''
  let mark = ''

  beforeEach(async () => {
    output = ''
    mark = `${MARKER}-${process.pid}-${Math.random()}`
    project = makeProject(files)
    child = spawn(process.execPath, [binOf('vitest'), 'run'], {
      cwd: project.folder,
      env: cleanEnv({ [MARK]: mark }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout!.on('data', (text) => (output += text))
    child.stderr!.on('data', (text) => (output += text))
    const until = performance.now() + 20_000
    while (!existsSync(join(project.folder, 'hanging')) && performance.now() < until) await sleep(20)
  })
  afterEach(() => {
    endMarked(mark)
    project.remove()
  })

  async function noneLeft(): Promise<void> {
    const until = performance.now() + 5000
    while (marked(mark).length > 0 && performance.now() < until) await sleep(50)
    expect(marked(mark)).toEqual([])
  }

  test.each([
    ['SIGINT', 1, 130],
    ['SIGINT', 2, 130],
    ['SIGTERM', 1, 143],
  ] as const)('%s (%i times): says what ran, writes the record, leaves nothing', async (signal, times, code) => {
    const exit = once(child, 'exit')
    const closed = once(child, 'close')
    for (let i = 0; i < times; i++) child.kill(signal)
    // A second signal that comes while the process is already on its way out ends it, which a shell shows as the same code.
    const ways = [[code, null], ...(times > 1 ? [[null, signal]] : [])]
    expect(ways).toContainEqual(await exit)
    await closed
    expect(output).toMatch(/interrupted while hang\.test\.ts > hangs for long ran \(\d+\.\d s\)/)
    expect(readRecordFile(project)).toMatchObject({ format: 1, hangs: [], endedAt: expect.any(String) })
    await noneLeft()
  })
})
