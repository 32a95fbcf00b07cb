// expect: {"id":"healthy-busy-pool","class":"none","test":"runs twenty jobs on two workers","culprit":null,"kind":"healthy","mustMention":[]}
// A pool of two that is busy for a second and a half.
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { expect, test } from 'vitest'

test('runs twenty jobs on two workers', async () => {
  const limit = pLimit(2)
  const done = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      limit(async () => {
        await sleep(130)
        return i
      }),
    ),
  )
  expect(done).toHaveLength(20)
})
