// expect: {"id":"await-all-one-member","class":"await-never-settles-with-live-resource","test":"greets three peers","culprit":"await-all-one-member.test.ts:21","accept":["await-all-one-member.test.ts:27"],"holder":"await-all-one-member.test.ts:20","kind":"hang","mustMention":["socket"]}
// Promise.all over three peers; one of them never says anything.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'

let server: Server
let calls = 0

beforeAll(async () => {
  server = createServer((socket) => {
    if (++calls !== 2) socket.write('hi')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

afterAll(() => void server.close())

async function greet(): Promise<string> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [text] = await once(socket, 'data')
  socket.destroy()
  return String(text)
}

test('greets three peers', async () => {
  const texts = await Promise.all([greet(), greet(), greet()])
  expect(texts).toEqual(['hi', 'hi', 'hi'])
})
