// expect: {"id":"await-broadcast-other-name","class":"await-never-settles-with-live-resource","test":"hears the announcement","culprit":"await-broadcast-other-name.test.ts:17","holder":"await-broadcast-other-name.test.ts:13","kind":"hang","mustMention":["message","BroadcastChannel"]}
// Speaker and listener use channels of different names.
import { BroadcastChannel } from 'node:worker_threads'
import { expect, test } from 'vitest'

function hear(channel: BroadcastChannel): Promise<unknown> {
  return new Promise((resolve) => {
    channel.onmessage = (event) => resolve((event as MessageEvent).data)
  })
}

test('hears the announcement', async () => {
  const listener = new BroadcastChannel('corpus-variant-news')
  const speaker = new BroadcastChannel('corpus-variant-new')
  speaker.postMessage('hello')
  speaker.close()
  expect(await hear(listener)).toBe('hello')
  listener.close()
})
