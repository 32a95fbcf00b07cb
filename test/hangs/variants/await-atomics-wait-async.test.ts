// expect: {"id":"await-atomics-wait-async","class":"await-never-settles-with-live-resource","test":"is woken by a cell","culprit":"await-atomics-wait-async.test.ts:9","accept":["await-atomics-wait-async.test.ts:17"],"kind":"hang","mustMention":["waitAsync"]}
// Atomics.waitAsync on one cell, the notification goes to the next one.
import { expect, test } from 'vitest'

const cells = new Int32Array(new SharedArrayBuffer(8))

async function changed(index: number): Promise<string> {
  const { value } = Atomics.waitAsync(cells, index, 0)
  return await value
}

test('is woken by a cell', async () => {
  setTimeout(() => {
    Atomics.store(cells, 1, 1)
    Atomics.notify(cells, 1)
  }, 20)
  expect(await changed(0)).toBe('ok')
})
