// expect: {"id":"fake-timers-node-mock","class":"fake-timers","test":"debounces a save","culprit":"fake-timers-node-mock.test.ts:29","holder":"fake-timers-node-mock.test.ts:7","kind":"hang","mustMention":["setTimeout"]}
// The fake clock is that of node:test, and nobody ticks it.
import { mock } from 'node:test'
import { afterEach, beforeEach, expect, test } from 'vitest'

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] })
})

afterEach(() => {
  mock.timers.reset()
})

function debounced(save: () => void): () => Promise<void> {
  let timer: NodeJS.Timeout | undefined
  return () =>
    new Promise((resolve) => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        save()
        resolve()
      }, 50)
    })
}

test('debounces a save', async () => {
  let saves = 0
  const save = debounced(() => saves++)
  await save()
  expect(saves).toBe(1)
})
