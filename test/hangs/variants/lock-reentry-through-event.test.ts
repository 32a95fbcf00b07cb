// expect: {"id":"lock-reentry-through-event","class":"lock-or-semaphore-deadlock","test":"recounts after each change","culprit":"lock-reentry-through-event.test.ts:26","accept":["lock-reentry-through-event.test.ts:19","lock-reentry-through-event.test.ts:21","lock-reentry-through-event.test.ts:35"],"holder":"lock-reentry-through-event.test.ts:19","kind":"hang","mustMention":["exclusive"]}
// The critical section emits an event whose listener enters the same section again.
import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'

class Store extends EventEmitter {
  private last: Promise<unknown> = Promise.resolve()
  private values: number[] = []
  total = 0
  hooks: Array<() => Promise<void>> = []

  exclusive<T>(section: () => Promise<T>): Promise<T> {
    const result = this.last.then(section)
    this.last = result.catch(() => {})
    return result
  }

  async add(value: number): Promise<void> {
    await this.exclusive(async () => {
      this.values.push(value)
      for (const hook of this.hooks) await hook()
    })
  }

  async recount(): Promise<void> {
    await this.exclusive(async () => {
      this.total = this.values.reduce((a, b) => a + b, 0)
    })
  }
}

test('recounts after each change', async () => {
  const store = new Store()
  store.hooks.push(() => store.recount())
  await store.add(4)
  expect(store.total).toBe(4)
})
