// expect: {"id":"healthy-long-timer","class":"none","test":"waits close to the limit","culprit":null,"kind":"healthy","mustMention":[]}
// A long timer, well below the limit of its test, and an interval that is cleared.
import { expect, test } from 'vitest'

test('waits close to the limit', { timeout: 6000 }, async () => {
  let ticks = 0
  const ticking = setInterval(() => ticks++, 50)
  await new Promise((resolve) => setTimeout(resolve, 3500))
  clearInterval(ticking)
  expect(ticks).toBeGreaterThan(10)
})
