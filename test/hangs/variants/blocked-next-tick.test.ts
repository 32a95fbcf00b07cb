// expect: {"id":"blocked-next-tick","class":"event-loop-blocked","test":"flushes a queue by ticks","culprit":"blocked-next-tick.test.ts:11","accept":["blocked-next-tick.test.ts:15"],"kind":"hang","mustMention":["nextTick"]}
// process.nextTick feeds itself: timers never run.
import { expect, test } from 'vitest'

const stop = performance.now() + 100_000

function flush(queue: number[], done: () => void): void {
  if (queue.length === 0 || performance.now() > stop) return done()
  queue.pop()
  queue.push(queue.length)
  process.nextTick(flush, queue, done)
}

test('flushes a queue by ticks', async () => {
  await new Promise<void>((resolve) => flush([1, 2, 3], resolve))
  expect(true).toBe(true)
})
