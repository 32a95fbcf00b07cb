// expect: {"id":"healthy-slow-locks","class":"none","test":"serves ten customers one by one","culprit":null,"kind":"healthy","mustMention":[]}
// A mutex that is always taken, and always given back: slow, but it ends.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'

class Counter {
  #free = true
  #line: Array<() => void> = []
  async serve(): Promise<void> {
    if (!this.#free) await new Promise<void>((resolve) => this.#line.push(resolve))
    this.#free = false
    await sleep(120)
    this.#free = true
    this.#line.shift()?.()
  }
}

test('serves ten customers one by one', async () => {
  const counter = new Counter()
  const served = await Promise.all(Array.from({ length: 10 }, () => counter.serve()))
  expect(served).toHaveLength(10)
})
