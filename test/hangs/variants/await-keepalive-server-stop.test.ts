// expect: {"id":"await-keepalive-server-stop","class":"await-never-settles-with-live-resource","test":"stops with a slow download","culprit":"await-keepalive-server-stop.test.ts:16","accept":["await-keepalive-server-stop.test.ts:25"],"holder":"await-keepalive-server-stop.test.ts:23","kind":"hang","mustMention":["close"]}
// The server is closed while a response has begun and is never ended.
import { once } from 'node:events'
import { createServer, get, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

class Site {
  readonly server: Server = createServer((_req, res) => void res.write('first part'))
  async start(): Promise<number> {
    await promisify((done: () => void) => this.server.listen(0, '127.0.0.1', done))()
    return (this.server.address() as AddressInfo).port
  }
  async stop(): Promise<void> {
    await promisify(this.server.close.bind(this.server))()
  }
}

test('stops with a slow download', async () => {
  const site = new Site()
  const port = await site.start()
  const [response] = await once(get({ host: '127.0.0.1', port }), 'response')
  expect(response.statusCode).toBe(200)
  await site.stop()
})
