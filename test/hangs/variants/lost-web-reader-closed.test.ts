// expect: {"id":"lost-web-reader-closed","class":"lost-promise","test":"reads a stream to its end","culprit":"lost-web-reader-closed.test.ts:12","kind":"hang","mustMention":["read"]}
// A web stream whose source enqueues three chunks and never closes.
import { expect, test } from 'vitest'

test('reads a stream to its end', async () => {
  const stream = new ReadableStream<number>({
    start(controller) {
      for (const n of [1, 2, 3]) controller.enqueue(n)
    },
  })
  const seen: number[] = []
  for await (const n of stream) seen.push(n)
  expect(seen).toEqual([1, 2, 3])
})
