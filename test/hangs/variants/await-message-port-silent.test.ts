// expect: {"id":"await-message-port-silent","class":"await-never-settles-with-live-resource","test":"shakes hands over a port","culprit":"await-message-port-silent.test.ts:13","holder":"await-message-port-silent.test.ts:8","kind":"hang","mustMention":["message","port"]}
// The far end of the channel answers `hello`, and gets `hallo`.
import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import { expect, test } from 'vitest'

test('shakes hands over a port', async () => {
  const { port1, port2 } = new MessageChannel()
  port2.on('message', (text) => {
    if (text === 'hello') port2.postMessage('welcome')
  })
  port1.postMessage('hallo')
  const [answer] = await once(port1, 'message')
  expect(answer).toBe('welcome')
})
