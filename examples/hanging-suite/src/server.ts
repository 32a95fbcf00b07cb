import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Serves `GET /stock/:sku`. */
export async function startServer(free: (sku: string) => number): Promise<{ url: string; close(): void }> {
  const server: Server = createServer((request, response) => {
    const sku = /^\/stock\/([\w-]+)$/.exec(request.url ?? '')?.[1]
    if (sku === undefined) response.writeHead(404).end()
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ free: free(sku) }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}
