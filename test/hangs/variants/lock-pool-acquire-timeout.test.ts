// expect: {"id":"lock-pool-acquire-timeout","class":"lock-or-semaphore-deadlock","test":"exports both tables","culprit":"lock-pool-acquire-timeout.test.ts:12","accept":["lock-pool-acquire-timeout.test.ts:19"],"holder":"lock-pool-acquire-timeout.test.ts:12","kind":"hang","mustMention":["acquire"]}
// The pool gives up by itself, but much later than the test.
import { createPool } from 'generic-pool'
import { expect, test } from 'vitest'

const pool = createPool(
  { create: async () => ({ id: 1 }), destroy: async () => {} },
  { max: 1, acquireTimeoutMillis: 60_000 },
)

async function exportTable(name: string): Promise<string> {
  const client = await pool.acquire()
  if (name.length > 100) await pool.release(client)
  return `${name}.csv`
}

test('exports both tables', async () => {
  expect(await exportTable('users')).toBe('users.csv')
  expect(await exportTable('orders')).toBe('orders.csv')
})
