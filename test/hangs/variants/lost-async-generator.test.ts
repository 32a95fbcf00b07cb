// expect: {"id":"lost-async-generator","class":"lost-promise","test":"drains the feed","culprit":"lost-async-generator.test.ts:18","accept":["lost-async-generator.test.ts:18","lost-async-generator.test.ts:28"],"kind":"hang","mustMention":["feed"]}
// An async generator waits for an item after the last one; nobody tells it that the feed has ended.
import { expect, test } from 'vitest'

class Feed {
  #items: string[] = []
  #wake: (() => void) | null = null

  push(item: string): void {
    this.#items.push(item)
    this.#wake?.()
    this.#wake = null
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift()!
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}

test('drains the feed', async () => {
  const feed = new Feed()
  feed.push('a')
  setTimeout(() => feed.push('b'), 10)
  const seen: string[] = []
  for await (const item of feed) seen.push(item)
  expect(seen).toEqual(['a', 'b'])
})
