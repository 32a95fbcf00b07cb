// expect: {"id":"await-agent-one-socket","class":"await-never-settles-with-live-resource","test":"reads two pages","culprit":"await-agent-one-socket.test.ts:32","kind":"hang","mustMention":["socket"]}
// The agent has one socket, and the first response, never read, keeps it.
import { once } from 'node:events'
import { Agent, createServer, get, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'

const agent = new Agent({ keepAlive: true, maxSockets: 1 })
let server: Server

beforeAll(async () => {
  server = createServer((req, res) => res.end(`page ${req.url} `.repeat(100_000)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterAll(() => {
  agent.destroy()
  server.closeAllConnections()
  server.close()
})

function page(path: string): Promise<IncomingMessage> {
  const { port } = server.address() as AddressInfo
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, agent }, resolve).on('error', reject)
  })
}

test('reads two pages', async () => {
  const first = await page('/1')
  const second = await page('/2')
  expect([first.statusCode, second.statusCode]).toEqual([200, 200])
})
