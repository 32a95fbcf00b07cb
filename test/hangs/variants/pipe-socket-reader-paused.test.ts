// expect: {"id":"pipe-socket-reader-paused","class":"pipe-or-backpressure-deadlock","test":"sends a backup","culprit":"pipe-socket-reader-paused.test.ts:15","accept":["pipe-socket-reader-paused.test.ts:8"],"kind":"hang","mustMention":["drain"]}
// The receiver pauses its socket to look at the first part and never goes on.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, test } from 'vitest'

test('sends a backup', async () => {
  const server = createServer((socket) => socket.once('data', () => socket.pause()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  let sent = 0
  while (sent < 256) {
    sent++
    if (!socket.write(Buffer.alloc(128 * 1024))) await once(socket, 'drain')
  }
  socket.end()
  expect(sent).toBe(256)
  server.close()
})
