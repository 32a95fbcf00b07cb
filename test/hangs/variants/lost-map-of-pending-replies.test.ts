// expect: {"id":"lost-map-of-pending-replies","class":"lost-promise","test":"answers three calls","culprit":"lost-map-of-pending-replies.test.ts:29","accept":["lost-map-of-pending-replies.test.ts:20"],"kind":"hang","mustMention":["call"]}
// Replies are matched by id; the third one comes back as text and never finds its caller.
import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'

const wire = new EventEmitter()
const pending = new Map<number, (value: string) => void>()
let ids = 0

wire.on('request', (id: number, text: string) => {
  queueMicrotask(() => wire.emit('reply', id === 3 ? String(id) : id, text.toUpperCase()))
})
wire.on('reply', (id: number, text: string) => {
  pending.get(id)?.(text)
  pending.delete(id)
})

function call(text: string): Promise<string> {
  const id = ++ids
  return new Promise((resolve) => {
    pending.set(id, resolve)
    wire.emit('request', id, text)
  })
}

test('answers three calls', async () => {
  expect(await call('a')).toBe('A')
  expect(await call('b')).toBe('B')
  expect(await call('c')).toBe('C')
})
