// expect: {"id":"lock-generic-pool-exhausted","class":"lock-or-semaphore-deadlock","test":"answers a third request","culprit":"lock-generic-pool-exhausted.test.ts:13","accept":["lock-generic-pool-exhausted.test.ts:22"],"holder":"lock-generic-pool-exhausted.test.ts:13","kind":"hang","mustMention":["acquire"]}
// generic-pool with two resources; a refused request keeps the one that it has acquired.
import { createPool } from 'generic-pool'
import { expect, test } from 'vitest'

let made = 0
const pool = createPool(
  { create: async () => ({ id: ++made }), destroy: async () => {} },
  { max: 2, min: 0 },
)

async function handle(user: string | null): Promise<number> {
  const connection = await pool.acquire()
  if (user === null) return 401
  await pool.release(connection)
  return 200
}

test('answers a third request', async () => {
  expect(await handle(null)).toBe(401)
  expect(await handle(null)).toBe(401)
  expect(await handle('ada')).toBe(200)
})
