// expect: {"id":"lock-rw-upgrade","class":"lock-or-semaphore-deadlock","test":"inserts what is missing","culprit":"lock-rw-upgrade.test.ts:49","accept":["lock-rw-upgrade.test.ts:25","lock-rw-upgrade.test.ts:59"],"holder":"lock-rw-upgrade.test.ts:46","kind":"hang","mustMention":["write"]}
// A reader asks for the write lock while it still holds its read lock.
import { expect, test } from 'vitest'

class RwLock {
  #readers = 0
  #writing = false
  #waitingWriters: PromiseWithResolvers<void>[] = []
  #waitingReaders: PromiseWithResolvers<void>[] = []

  async read(): Promise<Disposable> {
    if (this.#writing || this.#waitingWriters.length > 0) {
      const turn = Promise.withResolvers<void>()
      this.#waitingReaders.push(turn)
      await turn.promise
    }
    this.#readers++
    return { [Symbol.dispose]: () => this.#doneReading() }
  }

  async write(): Promise<Disposable> {
    if (this.#writing || this.#readers > 0) {
      const turn = Promise.withResolvers<void>()
      this.#waitingWriters.push(turn)
      await turn.promise
    }
    this.#writing = true
    return { [Symbol.dispose]: () => this.#doneWriting() }
  }

  #doneReading(): void {
    if (--this.#readers === 0) this.#waitingWriters.shift()?.resolve()
  }

  #doneWriting(): void {
    this.#writing = false
    for (const turn of this.#waitingReaders.splice(0)) turn.resolve()
    this.#waitingWriters.shift()?.resolve()
  }
}

const rw = new RwLock()
const cache = new Map<string, string>()

async function load(key: string): Promise<string> {
  const reading = await rw.read()
  let value = cache.get(key)
  if (value === undefined) {
    const writing = await rw.write()
    value = `value of ${key}`
    cache.set(key, value)
    writing[Symbol.dispose]()
  }
  reading[Symbol.dispose]()
  return value
}

test('inserts what is missing', async () => {
  expect(await load('k')).toBe('value of k')
})
