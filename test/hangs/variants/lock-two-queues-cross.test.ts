// expect: {"id":"lock-two-queues-cross","class":"lock-or-semaphore-deadlock","test":"syncs both ways","culprit":"lock-two-queues-cross.test.ts:34","accept":["lock-two-queues-cross.test.ts:10","lock-two-queues-cross.test.ts:13","lock-two-queues-cross.test.ts:27","lock-two-queues-cross.test.ts:32","lock-two-queues-cross.test.ts:39"],"holder":"lock-two-queues-cross.test.ts:25","kind":"hang","mustMention":["inOrder"]}
// Two serial queues whose jobs wait for each other's queue.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'

class Serial {
  #busy = false
  readonly #jobs: Array<() => void> = []
  async inOrder<T>(job: () => Promise<T>): Promise<T> {
    if (this.#busy) await new Promise<void>((go) => void this.#jobs.push(go))
    this.#busy = true
    try {
      return await job()
    } finally {
      this.#busy = false
      this.#jobs.shift()?.()
    }
  }
}

const local = new Serial()
const remote = new Serial()

function push(text: string): Promise<string> {
  return local.inOrder(async () => {
    await sleep(5)
    return await remote.inOrder(async () => `pushed ${text}`)
  })
}

function pull(text: string): Promise<string> {
  return remote.inOrder(async () => {
    await sleep(5)
    return await local.inOrder(async () => `pulled ${text}`)
  })
}

test('syncs both ways', async () => {
  const done = await Promise.all([push('a'), pull('b')])
  expect(done).toEqual(['pushed a', 'pulled b'])
})
