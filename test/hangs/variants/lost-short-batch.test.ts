// expect: {"id":"lost-short-batch","class":"lost-promise","test":"loads three prices","kind":"hang","mustMention":["load"],"culprit":"lost-short-batch.test.ts:36","accept":["lost-short-batch.test.ts:14","lost-short-batch.test.ts:43"]}
// The same defect as a class with private fields: answers are matched by position, and the backend leaves one out.
import { expect, test } from 'vitest'

interface Job {
  readonly key: string
  settle(value: number): void
}

class PriceLoader {
  #jobs: Job[] = []
  #scheduled = false
  load(key: string): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>()
    this.#jobs.push({ key, settle: resolve })
    if (!this.#scheduled) {
      this.#scheduled = true
      process.nextTick(() => void this.#dispatch())
    }
    return promise
  }
  async #dispatch(): Promise<void> {
    const jobs = this.#jobs.splice(0)
    this.#scheduled = false
    const values = await PriceLoader.fetch(jobs.map(({ key }) => key))
    for (const [index, value] of values.entries()) jobs[index]?.settle(value)
  }
  static async fetch(keys: string[]): Promise<number[]> {
    await new Promise((done) => setImmediate(done))
    return [...new Set(keys.map((key) => key.toLowerCase()))].map((key) => key.length)
  }
}

async function total(loader: PriceLoader, keys: string[]): Promise<number> {
  let sum = 0
  for (const price of keys.map((key) => loader.load(key))) sum += await price
  return sum
}

test('loads three prices', async () => {
  const loader = new PriceLoader()
  expect(await total(loader, ['ab', 'c'])).toBe(3)
  expect(await total(loader, ['ab', 'AB', 'c'])).toBe(5)
})
