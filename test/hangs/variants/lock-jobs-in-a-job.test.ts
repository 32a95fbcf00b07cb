// expect: {"id":"lock-jobs-in-a-job","class":"lock-or-semaphore-deadlock","test":"writes inside a batch","culprit":"lock-jobs-in-a-job.test.ts:26","accept":["lock-jobs-in-a-job.test.ts:18"],"holder":"lock-jobs-in-a-job.test.ts:25","kind":"hang","mustMention":["add"]}
// A job waits for another job of the queue that runs one after the other.
import { expect, test } from 'vitest'

type Job = { run: () => Promise<unknown>; done: (v: unknown) => void }
class Serial {
  private jobs: Job[] = []
  private active = false
  add<T>(run: () => Promise<T>): Promise<T> {
    return new Promise((done) => {
      this.jobs.push({ run, done: done as (v: unknown) => void })
      void this.#pump()
    })
  }
  async #pump() {
    if (this.active) return
    this.active = true
    for (let job = this.jobs.shift(); job; job = this.jobs.shift()) job.done(await job.run())
    this.active = false
  }
}
const serial = new Serial()
const write = (n: number) => serial.add(async () => n)
test('writes inside a batch', async () => {
  const sum = await serial.add(async () => {
    const a = await write(1)
    return a + 1
  })
  expect(sum).toBe(2)
})
