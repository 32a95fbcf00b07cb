// expect: {"id":"await-udp-no-answer","class":"await-never-settles-with-live-resource","test":"pings a service","culprit":"await-udp-no-answer.test.ts:21","kind":"hang","mustMention":["message"]}
// A datagram goes to a socket that answers `ping`, not `PING`.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { expect, test } from 'vitest'

async function bound(): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}

test('pings a service', async () => {
  const service = await bound()
  service.on('message', (text, from) => {
    if (String(text) === 'ping') service.send('pong', from.port, from.address)
  })
  const client = await bound()
  client.send('PING', service.address().port, '127.0.0.1')
  const [answer] = await once(client, 'message')
  expect(String(answer)).toBe('pong')
  client.close()
  service.close()
})
