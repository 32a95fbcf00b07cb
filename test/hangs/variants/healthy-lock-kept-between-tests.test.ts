// expect: {"id":"healthy-lock-kept-between-tests","class":"none","test":"second holder gets it","culprit":null,"kind":"healthy","mustMention":[]}
// A lock that one test keeps and the next one gives back.
import { expect, test } from 'vitest'

const queue: Array<() => void> = []
let held = false

async function lock(): Promise<void> {
  if (held) await new Promise<void>((resolve) => queue.push(resolve))
  held = true
}

function unlock(): void {
  held = false
  queue.shift()?.()
}

test('first holder keeps it', async () => {
  await lock()
  expect(held).toBe(true)
})

test('second holder gets it', async () => {
  setTimeout(unlock, 700)
  await lock()
  unlock()
  expect(held).toBe(false)
})
