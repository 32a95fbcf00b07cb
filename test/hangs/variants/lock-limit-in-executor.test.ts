// expect: {"id":"lock-limit-in-executor","class":"lock-or-semaphore-deadlock","test":"second row","hook":"beforeEach","culprit":"lock-limit-in-executor.test.ts:11","accept":["lock-limit-in-executor.test.ts:12"],"holder":"lock-limit-in-executor.test.ts:11","kind":"hang","mustMention":["one"]}
// A hook waits until a limiter has let it in; the task of the first test is still in there.
import pLimit from 'p-limit'
import { beforeEach, describe, expect, test } from 'vitest'

const one = pLimit(1)
let leave: () => void

describe('rows', () => {
  beforeEach(async () => {
    await new Promise<void>((entered) => {
      void one(() => {
        entered()
        return new Promise<void>((done) => {
          leave = done
        })
      })
    })
  })
  test('first row', () => expect(typeof leave).toBe('function'))
  test('second row', () => expect(typeof leave).toBe('function'))
})
