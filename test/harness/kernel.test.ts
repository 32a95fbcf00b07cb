import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeProject } from '../project.ts'
import { config, runSuite } from './suite.ts'

test.skipIf(process.platform !== 'linux')(
  'a wait for a file says in which call the threadpool stands',
  async () => {
    const project = makeProject({
      'fifo.test.ts': `
      import { readFile } from 'node:fs/promises'
      import { test } from 'vitest'
      test('reads what nobody writes', async () => {
        await readFile('queue')
      })`,
      'vitest.config.ts': config('{ hang: { grace: 300, stop: 2000 } }'),
    })
    try {
      execFileSync('mkfifo', [join(project.folder, 'queue')])
      const { record, run } = await runSuite(project)
      expect(record.hangs, run.output).toMatchObject([{ culprit: { path: 'fifo.test.ts', line: 5 } }])
      expect(record.hangs[0]?.diagnosis).toMatch(
        /the system has not answered.*: thread \(libuv-worker\) is blocked in open(at)?\(2\) of the FIFO queue, which nobody has open for writing/,
      )
    } finally {
      project.remove()
    }
  },
  120_000,
)
