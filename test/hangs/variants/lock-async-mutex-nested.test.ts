// expect: {"id":"lock-async-mutex-nested","class":"lock-or-semaphore-deadlock","test":"renames inside a save","culprit":"lock-async-mutex-nested.test.ts:10","accept":["lock-async-mutex-nested.test.ts:18","lock-async-mutex-nested.test.ts:23"],"holder":"lock-async-mutex-nested.test.ts:17","kind":"hang","mustMention":["runExclusive"]}
// async-mutex: runExclusive inside runExclusive of the same mutex.
import { Mutex } from 'async-mutex'
import { expect, test } from 'vitest'

const mutex = new Mutex()
const names = new Set(['a'])

async function rename(from: string, to: string): Promise<void> {
  await mutex.runExclusive(() => {
    names.delete(from)
    names.add(to)
  })
}

async function save(name: string): Promise<void> {
  await mutex.runExclusive(async () => {
    await rename(name, `${name}.saved`)
  })
}

test('renames inside a save', async () => {
  await save('a')
  expect([...names]).toEqual(['a.saved'])
})
