// expect: {"id":"lock-ring-not-awaited","class":"lock-or-semaphore-deadlock","test":"seats everybody","culprit":"lock-ring-not-awaited.test.ts:12","accept":["lock-ring-not-awaited.test.ts:17"],"holder":"lock-ring-not-awaited.test.ts:10","kind":"hang","mustMention":["runExclusive"]}
// Nobody awaits the inner calls: their promises are returned, and only the test is suspended.
import { setTimeout as sleep } from 'node:timers/promises'
import { Mutex } from 'async-mutex'
import { expect, test } from 'vitest'

const forks = Array.from({ length: 3 }, () => new Mutex())

async function dine(seat: number): Promise<number> {
  return forks[seat]!.runExclusive(async () => {
    await sleep(10)
    return forks[(seat + 1) % 3]!.runExclusive(async () => seat)
  })
}

test('seats everybody', async () => {
  expect(await Promise.all([0, 1, 2].map(dine))).toEqual([0, 1, 2])
})
