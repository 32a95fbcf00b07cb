// expect: {"id":"lock-keyed-chain","class":"lock-or-semaphore-deadlock","test":"moves a file onto itself","culprit":"lock-keyed-chain.test.ts:24","accept":["lock-keyed-chain.test.ts:12","lock-keyed-chain.test.ts:14","lock-keyed-chain.test.ts:23","lock-keyed-chain.test.ts:31"],"holder":"lock-keyed-chain.test.ts:23","kind":"hang","mustMention":["withKey"]}
// A lock per key, kept as a chain of promises in a map; moving asks for the same key twice.
import { expect, test } from 'vitest'

const chains = new Map<string, Promise<void>>()

async function withKey<T>(key: string, work: () => Promise<T>): Promise<T> {
  const before = chains.get(key) ?? Promise.resolve()
  let done = (): void => {}
  const mine = new Promise<void>((resolve) => (done = resolve))
  chains.set(key, mine)
  await before
  try {
    return await work()
  } finally {
    done()
  }
}

const disk = new Map([['a.txt', 'text']])

async function move(from: string, to: string): Promise<void> {
  await withKey(from, () =>
    withKey(to, async () => {
      disk.set(to, disk.get(from)!)
    }),
  )
}

test('moves a file onto itself', async () => {
  await move('a.txt', 'a.txt')
  expect(disk.get('a.txt')).toBe('text')
})
