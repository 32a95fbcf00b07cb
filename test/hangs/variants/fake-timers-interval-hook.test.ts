// expect: {"id":"fake-timers-interval-hook","class":"fake-timers","test":"polls a job","culprit":"fake-timers-interval-hook.test.ts:17","accept":["fake-timers-interval-hook.test.ts:33"],"holder":"fake-timers-interval-hook.test.ts:6","kind":"hang","mustMention":["useFakeTimers"]}
// Fake timers from a hook; time is advanced once, before the poll has begun.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})

afterEach(() => {
  vi.useRealTimers()
})

class Poller {
  constructor(private readonly check: () => boolean) {}
  async done(): Promise<number> {
    const began = Date.now()
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (!this.check()) return
        clearInterval(timer)
        resolve()
      }, 100)
    })
    return Date.now() - began
  }
}

test('polls a job', async () => {
  let state = 'running'
  setTimeout(() => (state = 'done'), 250)
  vi.advanceTimersByTime(300)
  const poller = new Poller(() => state === 'done')
  expect(await poller.done()).toBe(100)
})
