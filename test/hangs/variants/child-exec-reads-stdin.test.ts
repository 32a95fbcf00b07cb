// expect: {"id":"child-exec-reads-stdin","class":"child-process-stuck","test":"formats a file","culprit":"child-exec-reads-stdin.test.ts:10","accept":["child-exec-reads-stdin.test.ts:15"],"kind":"hang","mustMention":["stdin"]}
// The tool reads stdin when it gets no file; promisified execFile leaves the pipe open.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)

async function format(files: string[]): Promise<string> {
  const { stdout } = await run('sort', files, { timeout: 90_000 })
  return stdout
}

test('formats a file', async () => {
  expect(await format([])).toBe('')
})
