// expect: {"id":"lock-pool-abandoned-generator","class":"lock-or-semaphore-deadlock","test":"counts after looking at the first row","kind":"hang","mustMention":["checkout"],"culprit":"lock-pool-abandoned-generator.test.ts:47","accept":["lock-pool-abandoned-generator.test.ts:23","lock-pool-abandoned-generator.test.ts:61"],"holder":"lock-pool-abandoned-generator.test.ts:35"}
// A connection is given back in the finally block of an async generator, and its user took one item and left it.
import { expect, test } from 'vitest'

class Connection {
  async *cursor(rows: number): AsyncGenerator<number> {
    for (let row = 0; row < rows; row++) {
      await new Promise((tick) => setImmediate(tick))
      yield row
    }
  }
}

class Pool {
  readonly #free: Connection[]
  readonly #queue: Array<(connection: Connection) => void> = []
  constructor(size: number) {
    this.#free = Array.from({ length: size }, () => new Connection())
  }
  async checkout(): Promise<Connection> {
    const connection = this.#free.pop()
    if (connection) return connection
    return new Promise((resolve) => this.#queue.push(resolve))
  }
  checkin(connection: Connection): void {
    const next = this.#queue.shift()
    if (next) next(connection)
    else this.#free.push(connection)
  }
}

class Rows {
  constructor(readonly pool: Pool) {}
  async *all(): AsyncGenerator<number> {
    const connection = await this.pool.checkout()
    try {
      yield* connection.cursor(10)
    } finally {
      this.pool.checkin(connection)
    }
  }
  async first(): Promise<number | undefined> {
    const { value } = await this.all().next()
    return value
  }
  async count(): Promise<number> {
    const connection = await this.pool.checkout()
    try {
      let rows = 0
      for await (const _ of connection.cursor(10)) rows++
      return rows
    } finally {
      this.pool.checkin(connection)
    }
  }
}

test('counts after looking at the first row', async () => {
  const rows = new Rows(new Pool(1))
  expect(await rows.first()).toBe(0)
  expect(await rows.count()).toBe(10)
})
