// expect: {"id":"lock-pg-pool-checkout","class":"lock-or-semaphore-deadlock","test":"counts inside a transaction","culprit":"lock-pg-pool-checkout.test.ts:56","accept":["lock-pg-pool-checkout.test.ts:65"],"holder":"lock-pg-pool-checkout.test.ts:63","kind":"hang","mustMention":["connect"]}
// pg-pool with one connection to a small server: inside a transaction another client is asked for.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import Pool from 'pg-pool'
import { afterAll, beforeAll, expect, test } from 'vitest'

type Done = (error?: Error | null) => void

class LineClient {
  private socket!: Socket
  private answers: Array<(text: string) => void> = []
  connect(done: Done): void {
    this.socket = connect(port, '127.0.0.1', () => done(null))
    this.socket.on('data', (text) => this.answers.shift()?.(String(text)))
  }
  on(): this {
    return this
  }
  once(): this {
    return this
  }
  removeListener(): this {
    return this
  }
  unref(): void {}
  ref(): void {}
  ask(sql: string): Promise<string> {
    return new Promise((resolve) => {
      this.answers.push(resolve)
      this.socket.write(sql)
    })
  }
  end(done?: Done): void {
    this.socket.end(() => done?.(null))
  }
}

let server: Server
let port = 0

beforeAll(async () => {
  server = createServer((socket) => socket.on('data', (sql) => socket.write(`ok ${sql}`)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})

afterAll(() => void server.close())

const pool = new Pool({ max: 1, Client: LineClient } as never) as unknown as {
  connect(): Promise<LineClient & { release(): void }>
}

async function count(table: string): Promise<string> {
  const client = await pool.connect()
  const answer = await client.ask(`count ${table}`)
  client.release()
  return answer
}

test('counts inside a transaction', async () => {
  const client = await pool.connect()
  await client.ask('begin')
  const rows = await count('users')
  await client.ask('commit')
  client.release()
  expect(rows).toBe('ok count users')
})
