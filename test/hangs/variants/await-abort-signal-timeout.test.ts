// expect: {"id":"await-abort-signal-timeout","class":"await-never-settles-with-live-resource","test":"stops at the deadline","culprit":"await-abort-signal-timeout.test.ts:9","kind":"hang","mustMention":["abort"]}
// The deadline is an AbortSignal whose time was given in the wrong unit.
import { once } from 'node:events'
import { expect, test } from 'vitest'

test('stops at the deadline', async () => {
  const own = new AbortController()
  const signal = AbortSignal.any([own.signal, AbortSignal.timeout(200_000)])
  await once(signal, 'abort')
  expect(signal.aborted).toBe(true)
})
