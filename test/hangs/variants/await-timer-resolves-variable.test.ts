// expect: {"id":"await-timer-resolves-variable","class":"await-never-settles-with-live-resource","test":"drains in ticks","culprit":"await-timer-resolves-variable.test.ts:15","accept":["await-timer-resolves-variable.test.ts:10"],"kind":"hang","mustMention":["timer"]}
// The resolve function is kept at the top of the module; a timer that names it looks again every few milliseconds.
import { expect, test } from 'vitest'

const done = Promise.withResolvers<void>()
const box = { items: [1, 2, 3] }

function tick() {
  if (box.items.length === 0) done.resolve()
  else setTimeout(tick, 2)
}

test('drains in ticks', async () => {
  tick()
  await done.promise
  expect(box.items).toEqual([])
})
