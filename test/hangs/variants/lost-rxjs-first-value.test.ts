// expect: {"id":"lost-rxjs-first-value","class":"lost-promise","test":"reads the first price","culprit":"lost-rxjs-first-value.test.ts:10","kind":"hang","mustMention":["firstValueFrom"]}
// RxJS: the subject emitted before anybody subscribed.
import { filter, firstValueFrom, Subject } from 'rxjs'
import { expect, test } from 'vitest'

test('reads the first price', async () => {
  const prices = new Subject<number>()
  const high = prices.pipe(filter((price) => price > 10))
  prices.next(12)
  const first = await firstValueFrom(high)
  expect(first).toBe(12)
})
