// expect: {"id":"lost-channel-empty","class":"lost-promise","test":"takes two messages","culprit":"lost-channel-empty.test.ts:23","accept":["lost-channel-empty.test.ts:15"],"kind":"hang","mustMention":["take"]}
// A channel with one message; the second take waits for a sender that does not exist.
import { expect, test } from 'vitest'

class Channel<T> {
  private buffer: T[] = []
  private takers: Array<(value: T) => void> = []
  put(value: T): void {
    const taker = this.takers.shift()
    if (taker) taker(value)
    else this.buffer.push(value)
  }
  take(): Promise<T> {
    if (this.buffer.length > 0) return Promise.resolve(this.buffer.shift()!)
    return new Promise((resolve) => this.takers.push(resolve))
  }
}

test('takes two messages', async () => {
  const channel = new Channel<string>()
  channel.put('one')
  expect(await channel.take()).toBe('one')
  expect(await channel.take()).toBe('two')
})
