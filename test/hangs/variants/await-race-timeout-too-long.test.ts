// expect: {"id":"await-race-timeout-too-long","class":"await-never-settles-with-live-resource","test":"gives up after a while","culprit":"await-race-timeout-too-long.test.ts:17","holder":"await-race-timeout-too-long.test.ts:10","kind":"hang","mustMention":["setTimeout"]}
// The deadline in the race was given in seconds where milliseconds and a factor were meant.
import { EventEmitter, once } from 'node:events'
import { expect, test } from 'vitest'

const SECOND = 1000

function deadline(seconds: number): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error('too late')), seconds * SECOND)
  })
}

test('gives up after a while', async () => {
  const source = new EventEmitter()
  const answer = Promise.race([once(source, 'data'), deadline(150)])
  await expect(answer).rejects.toThrow('too late')
})
