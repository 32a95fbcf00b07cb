// expect: {"id":"pipe-duplex-echo-full","class":"pipe-or-backpressure-deadlock","test":"echoes two megabytes","culprit":"pipe-duplex-echo-full.test.ts:14","accept":["pipe-duplex-echo-full.test.ts:25"],"kind":"hang","mustMention":["drain"]}
// The echo server pipes back what nobody reads, so both directions fill up.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, test } from 'vitest'

const server = createServer((socket) => void socket.pipe(socket))

async function echo(total: number): Promise<number> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  let left = total
  while (left > 0) {
    left -= 65536
    if (!socket.write(Buffer.alloc(65536))) await once(socket, 'drain')
  }
  socket.end()
  let back = 0
  for await (const chunk of socket) back += chunk.length
  return back
}

test('echoes two megabytes', async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  expect(await echo(32 * 1024 * 1024)).toBeGreaterThan(0)
  server.close()
})
