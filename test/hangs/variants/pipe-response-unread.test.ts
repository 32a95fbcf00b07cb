// expect: {"id":"pipe-response-unread","class":"pipe-or-backpressure-deadlock","test":"streams a big answer","culprit":"pipe-response-unread.test.ts:10","accept":["pipe-response-unread.test.ts:20"],"kind":"hang","mustMention":["drain"]}
// A handler waits for its response to drain, which the client does not read.
import { once } from 'node:events'
import { createServer, get, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'

async function writeAll(res: ServerResponse, chunks: number) {
  for (let i = 0; i < chunks; i++) {
    if (!res.write(Buffer.alloc(65536))) await once(res, 'drain')
  }
  res.end()
}
test('streams a big answer', async () => {
  let done!: Promise<void>
  const server = createServer((_q, res) => void (done = writeAll(res, 400))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const req = get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  const [res] = await once(req, 'response')
  await done
  expect(res.statusCode).toBe(200)
})
