// expect: {"id":"await-http-client-callback","class":"await-never-settles-with-live-resource","test":"posts a form","culprit":"await-http-client-callback.test.ts:37","holder":"await-http-client-callback.test.ts:30","kind":"hang","mustMention":["request"]}
// The server answers only when the body is complete, and waits for a field that is not sent.
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'

const server = createServer((req, res) => {
  let body = ''
  req.setEncoding('utf8')
  req.on('data', (text) => {
    body += text
    if (body.includes('&done=1')) res.end('thanks')
  })
})

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterAll(() => {
  server.closeAllConnections()
  server.close()
})

function post(body: string): Promise<number> {
  const { port } = server.address() as AddressInfo
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, method: 'POST' }, (res) => resolve(res.statusCode!))
    req.on('error', reject)
    req.end(body)
  })
}

test('posts a form', async () => {
  expect(await post('name=ada&done=true')).toBe(200)
})
