// expect: {"id":"lock-behind-sync-wrapper","class":"lock-or-semaphore-deadlock","test":"saves and indexes","kind":"hang","mustMention":["lock"],"culprit":"lock-behind-sync-wrapper.test.ts:35","accept":["lock-behind-sync-wrapper.test.ts:15","lock-behind-sync-wrapper.test.ts:43","lock-behind-sync-wrapper.test.ts:52"],"holder":"lock-behind-sync-wrapper.test.ts:40"}
// A mutex whose public methods only pass on to a private one; the index asks for the lock that the save has.
import { expect, test } from 'vitest'

class Gate {
  #taken = false
  readonly #queue: Array<() => void> = []
  lock(): Promise<() => void> {
    return this.#enqueue('lock')
  }
  tryLock(): Promise<() => void> | undefined {
    return this.#taken ? undefined : this.#enqueue('try')
  }
  #enqueue(_why: string): Promise<() => void> {
    return new Promise((resolve) => {
      const give = (): void => resolve(() => this.#free())
      if (this.#taken) this.#queue.push(give)
      else {
        this.#taken = true
        give()
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
