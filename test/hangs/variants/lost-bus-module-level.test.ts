// expect: {"id":"lost-bus-module-level","class":"lost-promise","test":"hears that the index is built","culprit":"lost-bus-module-level.test.ts:21","accept":["lost-bus-module-level.test.ts:9"],"kind":"hang","mustMention":["built"]}
// An event bus of the module; the event was emitted while the listener was still being set up.
import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'

const bus = new EventEmitter()

function next(name: string): Promise<unknown[]> {
  return new Promise((resolve) => {
    bus.once(name, (...args) => resolve(args))
  })
}

async function build(): Promise<void> {
  await Promise.resolve()
  bus.emit('built', 42)
}

test('hears that the index is built', async () => {
  await build()
  const [n] = await next('built')
  expect(n).toBe(42)
})
