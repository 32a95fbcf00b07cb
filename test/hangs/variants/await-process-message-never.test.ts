// expect: {"id":"await-process-message-never","class":"await-never-settles-with-live-resource","test":"handles a slow upload","culprit":"await-process-message-never.test.ts:16","holder":"await-process-message-never.test.ts:14","kind":"hang","mustMention":["request"]}
// The server waits for the end of a request body that the client has not finished.
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'

test('handles a slow upload', async () => {
  const server = createServer((req, res) => {
    req.resume().on('end', () => res.end('stored'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upload = request({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', method: 'PUT' })
  upload.write('first half')
  const [response] = await once(upload, 'response')
  expect(response.statusCode).toBe(200)
  upload.end()
  server.close()
})
