// expect: {"id":"healthy-emitter-late-event","class":"none","test":"hears a late event","culprit":null,"kind":"healthy","mustMention":[]}
// The event comes late, but it comes; the emitter belongs to the module.
import { EventEmitter, once } from 'node:events'
import { expect, test } from 'vitest'

const bus = new EventEmitter()

test('hears a late event', async () => {
  setTimeout(() => bus.emit('ready', 1), 1400)
  const [n] = await once(bus, 'ready')
  expect(n).toBe(1)
})
