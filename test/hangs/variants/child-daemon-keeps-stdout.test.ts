// expect: {"id":"child-daemon-keeps-stdout","class":"child-process-stuck","test":"starts the daemon","culprit":"child-daemon-keeps-stdout.test.ts:9","accept":["child-daemon-keeps-stdout.test.ts:13"],"holder":"child-daemon-keeps-stdout.test.ts:8","kind":"hang","mustMention":["close"]}
// The launcher exits at once, the daemon it started has inherited stdout.
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'

async function launch(): Promise<string> {
  const launcher = spawn('sh', ['-c', '(sleep 75 &) ; echo started'], { stdio: ['ignore', 'pipe', 'ignore'] })
  return (await text(launcher.stdout)).trim()
}

test('starts the daemon', async () => {
  expect(await launch()).toBe('started')
})
