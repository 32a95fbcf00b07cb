// expect: {"id":"await-upgrade-never","class":"await-never-settles-with-live-resource","test":"opens the live channel","culprit":"await-upgrade-never.test.ts:27","holder":"await-upgrade-never.test.ts:13","kind":"hang","mustMention":["upgrade"]}
// The server takes the upgrade request and answers only paths that it knows.
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { expect, test } from 'vitest'

const HEAD = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: live\r\n\r\n'

function open(port: number, path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const headers = { connection: 'Upgrade', upgrade: 'live' }
    const asking = request({ port, host: '127.0.0.1', path, headers })
    asking.on('upgrade', (_res, socket) => resolve(socket as Socket))
    asking.on('error', reject)
    asking.end()
  })
}

test('opens the live channel', async () => {
  const server = createServer()
  server.on('upgrade', (req, socket) => {
    if (req.url === '/live') socket.write(HEAD)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const channel = await open((server.address() as AddressInfo).port, '/live/')
  expect(channel.readable).toBe(true)
  channel.destroy()
  server.close()
})
