// expect: {"id":"lost-topic-never-closed","class":"lost-promise","test":"projects all order events","kind":"hang","mustMention":["subscribe"],"culprit":"lost-topic-never-closed.test.ts:52","accept":["lost-topic-never-closed.test.ts:28","lost-topic-never-closed.test.ts:64"]}
// Event sourcing: a projection reads its topic with for await; the store closes a topic only when it is asked by name.
import { expect, test } from 'vitest'

interface Stored {
  topic: string
  version: number
  data: Record<string, unknown>
}

class Topic implements AsyncIterableIterator<Stored> {
  #items: Stored[] = []
  #wanted: Array<(result: IteratorResult<Stored>) => void> = []
  #closed = false
  push(item: Stored): void {
    const wanted = this.#wanted.shift()
    if (wanted) wanted({ value: item, done: false })
    else this.#items.push(item)
  }
  close(): void {
    this.#closed = true
    for (const wanted of this.#wanted.splice(0)) wanted({ value: undefined, done: true })
  }
  next(): Promise<IteratorResult<Stored>> {
    const item = this.#items.shift()
    if (item) return Promise.resolve({ value: item, done: false })
    if (this.#closed) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve) => this.#wanted.push(resolve))
  }
  [Symbol.asyncIterator](): this {
    return this
  }
}

class EventStore {
  readonly #topics = new Map<string, Topic>()
  subscribe(name: string): Topic {
    const found = this.#topics.get(name) ?? new Topic()
    this.#topics.set(name, found)
    return found
  }
  append(topic: string, data: Record<string, unknown>): void {
    this.subscribe(topic).push({ topic, version: 1, data })
  }
  seal(name: string): void {
    this.#topics.get(name)?.close()
  }
}

async function project(store: EventStore): Promise<number> {
  let total = 0
  for await (const { data } of store.subscribe('orders')) {
    if (data.type === 'OrderPlaced') total += Number(data.amount)
  }
  return total
}

test('projects all order events', async () => {
  const store = new EventStore()
  const running = project(store)
  store.append('orders', { type: 'OrderPlaced', amount: 30 })
  store.append('orders', { type: 'OrderPlaced', amount: 12 })
  store.seal('order')
  expect(await running).toBe(42)
})
