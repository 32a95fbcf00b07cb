// expect: {"id":"lock-taken-in-hook","class":"lock-or-semaphore-deadlock","test":"updates a row","culprit":"lock-taken-in-hook.test.ts:33","accept":["lock-taken-in-hook.test.ts:9","lock-taken-in-hook.test.ts:41"],"holder":"lock-taken-in-hook.test.ts:26","kind":"hang","mustMention":["enter"]}
// The lock is taken in beforeAll to seed the table, and only afterAll gives it back.
import { afterAll, beforeAll, expect, test } from 'vitest'

function gate() {
  let open = true
  const parked = new Set<() => void>()
  const enter = async (): Promise<void> => {
    while (!open) await new Promise<void>((wake) => parked.add(wake))
    open = false
  }
  const leave = (): void => {
    open = true
    const [first] = parked
    if (first === undefined) return
    parked.delete(first)
    first()
  }
  return { enter, leave }
}

const table = gate()
const rows = new Map<string, number>()

beforeAll(async () => {
  await table.enter()
  rows.set('a', 1)
})

afterAll(() => table.leave())

async function update(key: string, by: number): Promise<number> {
  await table.enter()
  const value = (rows.get(key) ?? 0) + by
  rows.set(key, value)
  table.leave()
  return value
}

test('updates a row', async () => {
  expect(await update('a', 2)).toBe(3)
})
