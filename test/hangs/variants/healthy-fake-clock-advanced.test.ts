// expect: {"id":"healthy-fake-clock-advanced","class":"none","test":"retries on a fake clock","culprit":null,"kind":"healthy","mustMention":[]}
// Fake timers that are advanced as they should be, and put back.
import { afterEach, expect, test, vi } from 'vitest'

afterEach(() => {
  vi.useRealTimers()
})

test('retries on a fake clock', async () => {
  vi.useFakeTimers()
  let tries = 0
  const done = (async () => {
    while (++tries < 4) await new Promise((resolve) => setTimeout(resolve, 60_000))
  })()
  await vi.advanceTimersByTimeAsync(200_000)
  await done
  expect(tries).toBe(4)
})
