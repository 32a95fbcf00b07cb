// expect: {"id":"child-waits-for-ready","class":"child-process-stuck","test":"starts the service","culprit":"child-waits-for-ready.test.ts:15","accept":["child-waits-for-ready.test.ts:22"],"holder":"child-waits-for-ready.test.ts:14","kind":"hang","mustMention":["message"]}
// The service sends `listening`, and what is waited for is a message that says `ready`; the child is idle.
import { spawn } from 'node:child_process'
import { on } from 'node:events'
import { expect, test } from 'vitest'

const SERVICE = `
  process.on('message', () => {})
  process.send({ state: 'listening' })
  setTimeout(() => process.exit(4), 90000).unref()
`

async function start(): Promise<unknown> {
  const child = spawn(process.execPath, ['-e', SERVICE], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  for await (const [message] of on(child, 'message')) {
    if ((message as { state: string }).state === 'ready') return child
  }
  return null
}

test('starts the service', async () => {
  expect(await start()).not.toBeNull()
})
