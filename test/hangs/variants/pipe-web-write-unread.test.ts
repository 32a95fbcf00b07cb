// expect: {"id":"pipe-web-write-unread","class":"pipe-or-backpressure-deadlock","test":"compresses a text","culprit":"pipe-web-write-unread.test.ts:12","kind":"hang","mustMention":["write"]}
// The writer awaits its write before anybody reads the other side of the transform.
import { expect, test } from 'vitest'

test('compresses a text', async () => {
  const upper = new TransformStream<string, string>({
    transform(text, controller) {
      controller.enqueue(text.toUpperCase())
    },
  })
  const writer = upper.writable.getWriter()
  await writer.write('a')
  await writer.write('b')
  await writer.close()
  let out = ''
  for await (const text of upper.readable) out += text
  expect(out).toBe('AB')
})
