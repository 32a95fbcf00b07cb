import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type HandleRegistry, installHandles } from '../../../src/inspect/resources/handles.ts'
import { until } from '../../process/sandbox.ts'

const FILE = 'reused-sockets.test.ts'

let registry: HandleRegistry
let scope: string
let server: http.Server
let port: number
const cleanup: (() => unknown)[] = []

beforeEach(async () => {
  scope = 'before'
  registry = installHandles({ scope: () => scope, isUser: (url) => url.endsWith(FILE) })
  server = http.createServer((request, response) => {
    response.write('part')
    if (request.url === '/whole') response.end()
  })
  // The default of 5 s is short on a machine that is busy.
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
afterEach(async () => {
  for (const undo of cleanup.splice(0).reverse()) await undo()
  registry.close()
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
})

/** Connections that hold the process, with the user's function that is to blame. */
const sockets = () =>
  registry
    .live()
    .filter(({ handle }) => handle.kind === 'Socket')
    .map(({ handle, scope: whose }) => ({
      whose,
      by: handle.created.find(({ at }) => at?.url.endsWith(FILE))?.fn,
    }))

it('lays a connection of an http.Agent to the request that left it open, not to the one that made it', async () => {
  const agent = new http.Agent({ keepAlive: true })
  cleanup.push(() => agent.destroy())
  const ask = (path: string) => http.get({ host: '127.0.0.1', port, path, agent })
  const readsItWhole = async () => {
    const request = ask('/whole')
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    response.resume()
    await once(request, 'close')
  }
  const leavesItOpen = async () => {
    const request = ask('/part')
    await once(request, 'response')
    return request
  }
  scope = 'first'
  await readsItWhole()
  await until(() => Object.keys(agent.freeSockets).length === 1)
  expect(sockets()).toEqual([])
  scope = 'second'
  const request = await leavesItOpen()
  expect(request.reusedSocket).toBe(true)
  expect(sockets()).toEqual([{ whose: 'second', by: 'ask' }])
})

it('lays the connection of a fetch to the call that left it open, also when an earlier call made it', async () => {
  const readsItWhole = async () => (await fetch(`http://127.0.0.1:${port}/whole`)).text()
  const leavesItOpen = (signal: AbortSignal) => fetch(`http://127.0.0.1:${port}/part`, { signal })
  scope = 'first'
  await readsItWhole()
  await until(() => sockets().length === 0)
  scope = 'second'
  const stop = new AbortController()
  const response = await leavesItOpen(stop.signal)
  cleanup.push(() => stop.abort())
  expect(response.status).toBe(200)
  expect(sockets()).toEqual([{ whose: 'second', by: 'leavesItOpen' }])
})

it('forgets uses of a connection that are over', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  cleanup.push(() => agent.destroy())
  const before = registry.size
  for (let round = 0; round < 20; round++) {
    const request = http.get({ host: '127.0.0.1', port, path: '/whole', agent })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    response.resume()
    await once(request, 'close')
    await until(() => Object.keys(agent.freeSockets).length === 1)
  }
  // Both ends of the one connection.
  expect(registry.size - before).toBe(2)
})
