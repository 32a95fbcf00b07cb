// expect: {"id":"lost-module-deferred","class":"lost-promise","test":"boots the app","culprit":"lost-module-deferred.test.ts:14","accept":["lost-module-deferred.test.ts:5"],"kind":"hang","mustMention":["ready"]}
// A deferred of the module; the start function returns early in test mode.
import { expect, test } from 'vitest'

const ready = Promise.withResolvers<number>()

function start(mode: string): void {
  if (mode === 'test') return
  setImmediate(() => ready.resolve(8080))
}

test('boots the app', async () => {
  start('test')
  const port = await ready.promise
  expect(port).toBe(8080)
})
