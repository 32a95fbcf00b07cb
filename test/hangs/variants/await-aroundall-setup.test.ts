// expect: {"id":"await-aroundall-setup","class":"await-never-settles-with-live-resource","test":"sees a client","hook":"aroundAll","culprit":"await-aroundall-setup.test.ts:13","kind":"hang","mustMention":["connection"]}
// aroundAll waits for the first client before it runs the tests, and nobody connects.
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { aroundAll, expect, test } from 'vitest'

let client: Socket | undefined

aroundAll(async (runSuite) => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const [first] = await once(server, 'connection')
  client = first
  await runSuite()
  server.close()
})

test('sees a client', () => {
  expect(client?.destroyed).toBe(false)
})
