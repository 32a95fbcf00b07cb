// expect: {"id":"await-aroundeach-close","class":"await-never-settles-with-live-resource","test":"says hello","hook":"aroundEach","culprit":"await-aroundeach-close.test.ts:15","holder":"await-aroundeach-close.test.ts:19","kind":"hang","mustMention":["close"]}
// aroundEach starts a server for each test and closes it afterwards; the client of the test is still connected.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { aroundEach, expect, test } from 'vitest'

let port = 0

aroundEach(async (runTest) => {
  const server = createServer((socket) => socket.write('hello'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
  await runTest()
  await new Promise<void>((resolve) => server.close(() => resolve()))
})

test('says hello', async () => {
  const client = connect(port, '127.0.0.1')
  const [greeting] = await once(client, 'data')
  expect(String(greeting)).toBe('hello')
})
