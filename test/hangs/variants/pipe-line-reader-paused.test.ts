// expect: {"id":"pipe-line-reader-paused","class":"pipe-or-backpressure-deadlock","test":"reads the log to its end","culprit":"pipe-line-reader-paused.test.ts:17","holder":"pipe-line-reader-paused.test.ts:8","kind":"hang","mustMention":["end"]}
// The child's output is paused for a slow consumer, which waits for 'end' without resuming.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'

test('reads the log to its end', async () => {
  const child = spawn(process.execPath, ['-e', 'process.stdout.write("line\\n".repeat(200000)); setTimeout(() => {}, 1)'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 90_000,
  })
  let lines = 0
  child.stdout.on('data', (text) => {
    lines += String(text).split('\n').length
    if (lines > 1000) child.stdout.pause()
  })
  await once(child.stdout, 'end')
  expect(lines).toBeGreaterThan(200_000)
})
