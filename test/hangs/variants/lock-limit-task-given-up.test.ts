// expect: {"id":"lock-limit-task-given-up","class":"lock-or-semaphore-deadlock","test":"charges the card again","culprit":"lock-limit-task-given-up.test.ts:15","holder":"lock-limit-task-given-up.test.ts:7","kind":"hang","mustMention":["gate"]}
// The first caller gave up after a while; its task still has the only place and never ends.
import pLimit from 'p-limit'
import { expect, test } from 'vitest'

const gate = pLimit(1)
const charge = (ms: number) => gate(() => new Promise<string>((done) => ms < 100 && setTimeout(done, ms, 'paid')))

function within<T>(work: Promise<T>, ms: number): Promise<T | 'late'> {
  return Promise.race([work, new Promise<'late'>((done) => setTimeout(done, ms, 'late'))])
}

test('charges the card again', async () => {
  expect(await within(charge(500), 30)).toBe('late')
  expect(await charge(10)).toBe('paid')
})
