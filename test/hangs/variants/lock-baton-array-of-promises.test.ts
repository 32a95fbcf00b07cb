// expect: {"id":"lock-baton-array-of-promises","class":"lock-or-semaphore-deadlock","test":"prints in order","culprit":"lock-baton-array-of-promises.test.ts:26","accept":["lock-baton-array-of-promises.test.ts:12","lock-baton-array-of-promises.test.ts:34"],"holder":"lock-baton-array-of-promises.test.ts:19","kind":"hang","mustMention":["turn"]}
// A hand-made ticket lock over an array of deferred turns; the second printer forgets to pass the baton on.
import { expect, test } from 'vitest'

const turns: PromiseWithResolvers<void>[] = []
let next = 0

async function turn(): Promise<() => void> {
  const mine = Promise.withResolvers<void>()
  const before = turns[next - 1]
  turns[next++] = mine
  if (before) await before.promise
  return () => mine.resolve()
}

const printed: string[] = []

async function print(text: string): Promise<void> {
  const pass = await turn()
  if (text === '') return
  printed.push(text)
  pass()
}

async function flush(): Promise<void> {
  const pass = await turn()
  printed.push('--')
  pass()
}

test('prints in order', async () => {
  await print('a')
  await print('')
  await flush()
  expect(printed).toEqual(['a', '--'])
})
