// expect: {"id":"healthy-server-closed-in-hook","class":"none","test":"answers twice","culprit":null,"kind":"healthy","mustMention":[]}
// A server with keep-alive clients, closed in afterAll.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'

let server: Server
let base = ''

beforeAll(async () => {
  server = createServer((_req, res) => void setTimeout(() => res.end('ok'), 300))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
})

test('answers twice', async () => {
  for (let i = 0; i < 2; i++) expect(await (await fetch(base)).text()).toBe('ok')
})
