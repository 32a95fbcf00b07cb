// expect: {"id":"await-socket-callbacks","class":"await-never-settles-with-live-resource","test":"reads the greeting","culprit":"await-socket-callbacks.test.ts:22","holder":"await-socket-callbacks.test.ts:9","kind":"hang","mustMention":["data"]}
// The usual promise around a socket: reject on error, resolve on data; the server greets only who speaks first.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, test } from 'vitest'

function greeting(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      socket.destroy()
      resolve(String(chunk))
    })
  })
}

test('reads the greeting', async () => {
  const server = createServer((socket) => socket.once('data', () => socket.write('hello')))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  expect(await greeting((server.address() as AddressInfo).port)).toBe('hello')
  server.close()
})
