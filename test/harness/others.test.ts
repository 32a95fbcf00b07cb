import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import { makeProject, type Project } from '../project.ts'
import { config, type Outcome, runSuite } from './suite.ts'

/** Hangs whose cause stands in another thread or process. */
const files: Record<string, string> = {
  'spin.mjs': `
    import { parentPort } from 'node:worker_threads'
    parentPort.once('message', () => {
      let turns = 0
      for (;;) turns++
    })`,
  'job.mjs': `
    import { once } from 'node:events'
    async function job() {
      await once(process.stdin, 'never')
    }
    setInterval(() => {}, 1000)
    await job()`,
  'thread.test.ts': `
    import { once } from 'node:events'
    import { Worker } from 'node:worker_threads'
    import { test } from 'vitest'
    test('waits for a thread that spins', async () => {
      const worker = new Worker(new URL('./spin.mjs', import.meta.url), { name: 'spinner' })
      worker.postMessage('go')
      await once(worker, 'message')
    })
    test('blocks while a thread spins', () => {
      const worker = new Worker(new URL('./spin.mjs', import.meta.url))
      worker.postMessage('go')
      const until = performance.now() + 500
      while (performance.now() < until) {}
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })`,
  'child.test.ts': `
    import { spawn } from 'node:child_process'
    import { once } from 'node:events'
    import { test } from 'vitest'
    test('waits for a child that waits', async () => {
      const child = spawn(process.execPath, ['--inspect-port=0', 'job.mjs'], { cwd: import.meta.dirname })
      await once(child, 'exit')
    })
    test('waits for a program that is no Node', async () => {
      const child = spawn('sleep', ['85'], { stdio: ['ignore', 'pipe', 'pipe'] })
      await once(child, 'exit')
    })`,
}

describe.each(['forks', 'threads'])('hangs with other threads and processes, pool %s', (pool) => {
  let project: Project
  let outcome: Outcome

  beforeAll(async () => {
    project = makeProject({
      ...files,
      'vitest.config.ts': config(
        '{ hang: { grace: 300, others: 20_000 } }',
        `pool: '${pool}', testTimeout: 2000, fileParallelism: false`,
      ),
    })
    outcome = await runSuite(project, [], 150_000)
  }, 160_000)
  afterAll(() => project?.remove())

  function hang(title: string) {
    const entry = outcome.record.hangs.find((one) => one.test?.includes(title))
    expect(entry, outcome.run.output).toBeDefined()
    const file = join(project.folder, entry!.dump!)
    const text = readFileSync(file.replace(/json$/, 'txt'), 'utf8')
    return { entry: entry!, dump: parseDumpRecord(JSON.parse(readFileSync(file, 'utf8'))), text }
  }

  test('a thread that spins is named as what holds the test, and its stack is in the dump', () => {
    const { entry, dump, text } = hang('waits for a thread that spins')
    expect(entry).toMatchObject({ culprit: { path: 'thread.test.ts', line: 8 }, holder: { path: 'spin.mjs', line: 5 } })
    expect(entry.diagnosis).toMatch(/that thread sends nothing, for it is busy at `for \(;;\) turns\+\+` \(spin\.mjs:5/)
    const [other] = dump.others ?? []
    expect(other).toMatchObject({ threadId: expect.any(Number), state: 'blocked', created: { path: 'thread.test.ts' } })
    expect(text).toMatch(/^== sync stack: worker thread \d+.* ==\nstarted at thread\.test\.ts:6/m)
  })

  test('the threads of a blocked worker are looked at too', () => {
    const { entry, dump } = hang('blocks while a thread spins')
    expect(entry).toMatchObject({ class: 'event-loop-blocked', culprit: { path: 'thread.test.ts', line: 15 } })
    expect(dump.others?.map(({ state }) => state)).toContain('blocked')
  })

  test('a child that waits shows its line', () => {
    const { entry, dump, text } = hang('waits for a child that waits')
    expect(entry).toMatchObject({ class: 'child-process-stuck', culprit: { path: 'child.test.ts', line: 7 } })
    expect(entry.diagnosis).toContain("`await once(process.stdin, 'never')` (job.mjs:4:")
    expect(dump.others).toMatchObject([{ threadId: 0, state: 'idle', created: { path: 'child.test.ts', line: 6 } }])
    expect(text).toMatch(/^== child \d+ .*job\.mjs ==$/m)
  })

  test('a program that is no Node has the view of the kernel, and the table shows its use of the CPU', () => {
    const { dump, text } = hang('waits for a program that is no Node')
    const other = dump.others?.find(({ label }) => label.endsWith('sleep 85'))
    expect(other).toMatchObject({ state: 'unseen', notes: ['not attached: it is no Node process'] })
    expect(other?.kernel?.[0]).toMatch(/blocked in clock_nanosleep/)
    const row = dump.processes.find(({ command }) => command === 'sleep 85')
    expect(row).toMatchObject({ cpuPercent: 0, state: 'S', wchan: expect.any(String), rssBytes: expect.any(Number) })
    expect(text).toContain('0 %')
  })
})
