// expect: {"id":"lost-stream-finished-early","class":"lost-promise","test":"copies and waits","culprit":"lost-stream-finished-early.test.ts:20","kind":"hang","mustMention":["finish"]}
// The stream has finished before anybody waits for it.
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'

class Sink extends Writable {
  size = 0
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.size += chunk.length
    done()
  }
}

test('copies and waits', async () => {
  const sink = new Sink()
  sink.end(Buffer.alloc(10))
  await sleep(10)
  await once(sink, 'finish')
  expect(sink.size).toBe(10)
})
