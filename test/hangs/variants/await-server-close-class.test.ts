// expect: {"id":"await-server-close-class","class":"await-never-settles-with-live-resource","test":"stops the echo service","culprit":"await-server-close-class.test.ts:38","holder":"await-server-close-class.test.ts:23","kind":"hang","mustMention":["close"]}
// The service closes its listening socket only; the client in another object is still connected.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'

class EchoService {
  readonly #server = createServer((socket) => void socket.pipe(socket))
  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', () => resolve()))
    return (this.#server.address() as AddressInfo).port
  }
  stop(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.close((error) => (error ? reject(error) : resolve()))
    return promise
  }
}

class EchoClient {
  #socket: Socket | undefined
  async open(port: number): Promise<void> {
    this.#socket = connect(port, '127.0.0.1')
    await once(this.#socket, 'connect')
  }
  async say(text: string): Promise<string> {
    this.#socket!.write(text)
    const [answer] = await once(this.#socket!, 'data')
    return String(answer)
  }
}

test('stops the echo service', async () => {
  const service = new EchoService()
  const client = new EchoClient()
  await client.open(await service.start())
  expect(await client.say('hello')).toBe('hello')
  await service.stop()
})
