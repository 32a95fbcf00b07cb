// expect: {"id":"fake-timers-stub-global","class":"fake-timers","test":"expires an entry","culprit":"fake-timers-stub-global.test.ts:24","holder":"fake-timers-stub-global.test.ts:21","kind":"hang","mustMention":["setTimeout"]}
// vi.stubGlobal puts a clock in the place of setTimeout; nobody moves it.
import { afterEach, expect, test, vi } from 'vitest'

class ManualClock {
  #now = 0
  readonly #timers: { at: number; run: () => void }[] = []
  setTimeout = (run: () => void, ms = 0): number => this.#timers.push({ at: this.#now + ms, run })
  advance(ms: number): void {
    this.#now += ms
    for (const timer of this.#timers) if (timer.at <= this.#now) timer.run()
  }
}

afterEach(() => {
  vi.unstubAllGlobals()
})

test('expires an entry', async () => {
  const clock = new ManualClock()
  vi.stubGlobal('setTimeout', clock.setTimeout)
  const cache = new Map([['k', 'v']])
  clock.advance(1000)
  await new Promise<void>((resolve) => {
    setTimeout(() => {
      cache.delete('k')
      resolve()
    }, 500)
  })
  expect(cache.size).toBe(0)
})
