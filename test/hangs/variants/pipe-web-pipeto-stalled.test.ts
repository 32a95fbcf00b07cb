// expect: {"id":"pipe-web-pipeto-stalled","class":"pipe-or-backpressure-deadlock","test":"copies between web streams","culprit":"pipe-web-pipeto-stalled.test.ts:14","kind":"hang","mustMention":["pipeTo"]}
// pipeTo into a transform whose readable side nobody reads.
import { expect, test } from 'vitest'

test('copies between web streams', async () => {
  let n = 0
  const source = new ReadableStream<number>({
    pull(controller) {
      if (n++ < 50) controller.enqueue(n)
      else controller.close()
    },
  })
  const meter = new TransformStream<number, number>()
  await source.pipeTo(meter.writable)
  expect(n).toBe(51)
})
