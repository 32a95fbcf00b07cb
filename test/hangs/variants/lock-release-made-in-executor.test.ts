// expect: {"id":"lock-release-made-in-executor","class":"lock-or-semaphore-deadlock","test":"saves and indexes","kind":"hang","mustMention":["lock"],"culprit":"lock-release-made-in-executor.test.ts:28","accept":["lock-release-made-in-executor.test.ts:9","lock-release-made-in-executor.test.ts:36","lock-release-made-in-executor.test.ts:45"],"holder":"lock-release-made-in-executor.test.ts:33"}
// A mutex whose public methods only pass on to a private one; the index asks for the lock that the save has.
import { expect, test } from 'vitest'

class Gate {
  #taken = false
  readonly #queue: Array<() => void> = []
  lock(): Promise<() => void> {
    return new Promise((resolve) => {
      if (this.#taken) this.#queue.push(() => resolve(() => this.#free()))
      else {
        this.#taken = true
        resolve(() => this.#free())
      }
    })
  }
  #free(): void {
    const next = this.#queue.shift()
    if (next) next()
    else this.#taken = false
  }
}

class Documents {
  readonly #gate = new Gate()
  readonly words = new Set<string>()
  async index(text: string): Promise<void> {
    const free = await this.#gate.lock()
    for (const word of text.split(' ')) this.words.add(word)
    free()
  }
  async save(text: string): Promise<void> {
    const free = await this.#gate.lock()
    try {
      await Promise.resolve()
      await this.index(text)
    } finally {
      free()
    }
  }
}

test('saves and indexes', async () => {
  const documents = new Documents()
  await documents.save('a b')
  expect(documents.words.size).toBe(2)
})
