// expect: {"id":"await-http2-no-response","class":"await-never-settles-with-live-resource","test":"asks over http2","culprit":"await-http2-no-response.test.ts:18","kind":"hang","mustMention":["response"]}
// The stream handler of an http2 server drops requests with an unknown method.
import { once } from 'node:events'
import { connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'

test('asks over http2', async () => {
  const server = createServer()
  server.on('stream', (stream, headers) => {
    if (headers[':method'] === 'GET') stream.end('ok')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const request = session.request({ ':method': 'PUT', ':path': '/' })
  request.end('body')
  const [headers] = await once(request, 'response')
  expect(headers[':status']).toBe(200)
  session.close()
  server.close()
})
