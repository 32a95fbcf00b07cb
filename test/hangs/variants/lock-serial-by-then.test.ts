// expect: {"id":"lock-serial-by-then","class":"lock-or-semaphore-deadlock","test":"appends inside an append","culprit":"lock-serial-by-then.test.ts:17","accept":["lock-serial-by-then.test.ts:23"],"holder":"lock-serial-by-then.test.ts:16","kind":"hang","mustMention":["append"]}
// A queue without a class: each job is chained to the one before, and a job waits for another one.
import { expect, test } from 'vitest'

let tail: Promise<unknown> = Promise.resolve()

function serial<T>(work: () => Promise<T>): Promise<T> {
  const next = tail.then(work)
  tail = next.catch(() => {})
  return next
}

const log: string[] = []

const append = (line: string): Promise<number> =>
  serial(async () => {
    if (line === 'b') await append('c')
    return log.push(line)
  })

test('appends inside an append', async () => {
  await append('a')
  await append('b')
  expect(log).toEqual(['a', 'c', 'b'])
})
