// expect: {"id":"await-readline-question","class":"await-never-settles-with-live-resource","test":"asks a remote user","culprit":"await-readline-question.test.ts:14","holder":"await-readline-question.test.ts:12","kind":"hang","mustMention":["question"]}
// A question is put to a peer over a socket; the peer never answers.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { createInterface } from 'node:readline/promises'
import { expect, test } from 'vitest'

test('asks a remote user', async () => {
  const server = createServer((socket) => socket.resume())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const prompt = createInterface({ input: socket, output: socket })
  const name = await prompt.question('name? ')
  expect(name).toBe('ada')
  prompt.close()
  socket.destroy()
  server.close()
})
