// expect: {"id":"lock-held-by-timeout-loser","class":"lock-or-semaphore-deadlock","test":"tries again after a timeout","culprit":"lock-held-by-timeout-loser.test.ts:29","accept":["lock-held-by-timeout-loser.test.ts:11","lock-held-by-timeout-loser.test.ts:39"],"holder":"lock-held-by-timeout-loser.test.ts:29","kind":"hang","mustMention":["lock"]}
// The first attempt lost a race against a timeout and still holds the lock that it got later.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'

function mutex() {
  let locked = false
  const queue: (() => void)[] = []
  return {
    lock: () =>
      new Promise<void>((resolve) => {
        if (locked) queue.push(resolve)
        else {
          locked = true
          resolve()
        }
      }),
    unlock() {
      const next = queue.shift()
      if (next) next()
      else locked = false
    },
  }
}

const door = mutex()

async function attempt(ms: number): Promise<string> {
  await door.lock()
  await sleep(ms)
  if (ms > 20) throw new Error('too slow')
  door.unlock()
  return 'in'
}

test('tries again after a timeout', async () => {
  const first = attempt(40).catch((error: Error) => error.message)
  expect(await Promise.race([first, sleep(15, 'timeout')])).toBe('timeout')
  expect(await attempt(5)).toBe('in')
})
