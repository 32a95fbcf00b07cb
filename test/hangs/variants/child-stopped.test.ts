// expect: {"id":"child-stopped","class":"child-process-stuck","test":"waits for a paused job","culprit":"child-stopped.test.ts:9","holder":"child-stopped.test.ts:8","kind":"hang","mustMention":["stopped"]}
// The child stops itself, as a job in the background does that wants the terminal.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'

test('waits for a paused job', async () => {
  const job = spawn('sh', ['-c', '(sleep 80; kill -9 $$) >/dev/null 2>&1 & kill -STOP $$; exit 0'], { stdio: 'ignore' })
  const [code] = await once(job, 'close')
  expect(code).toBe(0)
})
