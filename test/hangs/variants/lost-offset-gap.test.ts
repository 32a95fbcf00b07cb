// expect: {"id":"lost-offset-gap","class":"lost-promise","test":"reads its own writes","kind":"hang","mustMention":["offset"],"culprit":"lost-offset-gap.test.ts:10","accept":["lost-offset-gap.test.ts:37","lost-offset-gap.test.ts:46"]}
// A follower lets callers wait for an offset of the log; one append is given a number that was used already.
import { expect, test } from 'vitest'

class Follower {
  #offset = 0
  #waiters: Array<{ offset: number; wake: () => void }> = []
  async reached(offset: number): Promise<void> {
    if (this.#offset >= offset) return
    await new Promise<void>((wake) => this.#waiters.push({ offset, wake }))
  }
  apply(offset: number): void {
    this.#offset = Math.max(this.#offset, offset)
    const due = this.#waiters.filter((one) => one.offset <= this.#offset)
    this.#waiters = this.#waiters.filter((one) => one.offset > this.#offset)
    for (const { wake } of due) wake()
  }
}

class Log {
  #next = 0
  readonly #follower: Follower
  constructor(follower: Follower) {
    this.#follower = follower
  }
  append(text: string): number {
    const offset = ++this.#next
    setImmediate(() => {
      if (text !== '') this.#follower.apply(offset)
    })
    return offset
  }
}

async function write(log: Log, follower: Follower, text: string): Promise<number> {
  const offset = log.append(text)
  await follower.reached(offset)
  return offset
}

test('reads its own writes', async () => {
  const follower = new Follower()
  const log = new Log(follower)
  expect(await write(log, follower, 'a')).toBe(1)
  expect(await write(log, follower, 'b')).toBe(2)
  expect(await write(log, follower, '')).toBe(3)
})
