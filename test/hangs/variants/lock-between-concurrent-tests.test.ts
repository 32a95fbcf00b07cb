// expect: {"id":"lock-between-concurrent-tests","class":"lock-or-semaphore-deadlock","test":"moves from right to left","culprit":"lock-between-concurrent-tests.test.ts:13","accept":["lock-between-concurrent-tests.test.ts:20","lock-between-concurrent-tests.test.ts:21"],"holder":"lock-between-concurrent-tests.test.ts:11","kind":"hang","mustMention":["acquire"]}
// Two tests that run at the same time take the same two locks in opposite order; each alone is green.
import { setTimeout as sleep } from 'node:timers/promises'
import { Mutex } from 'async-mutex'
import { describe, expect, test } from 'vitest'

const left = new Mutex()
const right = new Mutex()

async function move(from: Mutex, to: Mutex): Promise<string> {
  const first = await from.acquire()
  await sleep(20)
  const second = await to.acquire()
  second()
  first()
  return 'moved'
}

describe.concurrent('moves', () => {
  test('moves from left to right', async () => expect(await move(left, right)).toBe('moved'))
  test('moves from right to left', async () => expect(await move(right, left)).toBe('moved'))
})
