// expect: {"id":"signal-only-shell","class":"signal-not-delivered","test":"stops the script","culprit":"signal-only-shell.test.ts:12","holder":"signal-only-shell.test.ts:7","kind":"hang","mustMention":["SIGTERM","close"]}
// SIGTERM ends the shell; what the shell runs goes on and holds its output.
import { spawn } from 'node:child_process'
import { expect, test } from 'vitest'

test('stops the script', async () => {
  const script = spawn('sh', ['-c', 'echo up; sleep 70; echo down'], { stdio: ['ignore', 'pipe', 'ignore'] })
  await new Promise<void>((resolve) => script.stdout.once('data', () => resolve()))
  script.stdout.resume()
  const closed = new Promise<string | null>((resolve) => script.on('close', (_code, signal) => resolve(signal)))
  script.kill()
  expect(await closed).toBe('SIGTERM')
})
