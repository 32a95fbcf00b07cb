// expect: {"id":"lost-abort-controller-kept","class":"lost-promise","test":"ends with its parent","culprit":"lost-abort-controller-kept.test.ts:9","accept":["lost-abort-controller-kept.test.ts:17"],"kind":"hang","mustMention":["abort"]}
// The controller is kept, and was aborted before the listener was added.
import { once } from 'node:events'
import { expect, test } from 'vitest'

const parent = new AbortController()

async function ended(signal: AbortSignal): Promise<boolean> {
  await once(signal, 'abort')
  return signal.aborted
}

test('ends with its parent', async () => {
  const child = new AbortController()
  parent.signal.addEventListener('abort', () => child.abort())
  child.abort()
  expect(await ended(child.signal)).toBe(true)
})
