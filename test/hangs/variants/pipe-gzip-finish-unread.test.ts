// expect: {"id":"pipe-gzip-finish-unread","class":"pipe-or-backpressure-deadlock","test":"packs a log","culprit":"pipe-gzip-finish-unread.test.ts:11","accept":["pipe-gzip-finish-unread.test.ts:18"],"kind":"hang","mustMention":["finish"]}
// Waits for the gzip stream to finish before its output is read.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createGzip } from 'node:zlib'
import { expect, test } from 'vitest'

async function pack(data: Buffer): Promise<Buffer> {
  const gzip = createGzip()
  gzip.end(data)
  await once(gzip, 'finish')
  const parts: Buffer[] = []
  for await (const part of gzip) parts.push(part)
  return Buffer.concat(parts)
}

test('packs a log', async () => {
  expect((await pack(randomBytes(512 * 1024))).length).toBeGreaterThan(1000)
})
