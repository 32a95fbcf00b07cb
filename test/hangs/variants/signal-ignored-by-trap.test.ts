// expect: {"id":"signal-ignored-by-trap","class":"signal-not-delivered","test":"restarts the watcher","culprit":"signal-ignored-by-trap.test.ts:19","accept":["signal-ignored-by-trap.test.ts:26"],"holder":"signal-ignored-by-trap.test.ts:8","kind":"hang","mustMention":["SIGHUP"]}
// The shell script traps the signal and goes on.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'

class Watcher {
  readonly #process = spawn('sh', ['-c', 'trap "" HUP; echo up; i=0; while [ $i -lt 80 ]; do i=$((i+1)); sleep 1; done'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  async up(): Promise<void> {
    await once(this.#process.stdout, 'data')
    this.#process.stdout.resume()
  }
  async stop(): Promise<void> {
    const gone = Promise.withResolvers<void>()
    this.#process.once('exit', () => gone.resolve())
    process.kill(this.#process.pid!, 'SIGHUP')
    await gone.promise
  }
}

test('restarts the watcher', async () => {
  const watcher = new Watcher()
  await watcher.up()
  await watcher.stop()
  expect(true).toBe(true)
})
