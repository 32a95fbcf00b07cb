import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { startServer } from '../src/server.ts'
import { askSupplier } from '../src/supplier.ts'

let supplier: Awaited<ReturnType<typeof startServer>>

beforeAll(async () => {
  supplier = await startServer((sku) => (sku === 'lamp' ? 7 : 0))
})

afterAll(() => supplier.close())

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

test('asks the supplier', async () => {
  expect(await askSupplier(supplier.url, 'lamp')).toBe(7)
})

// Hangs: the pause before the second call is a fake timer, and nobody moves the fake clock.
test('asks again after a failure', async () => {
  vi.useFakeTimers()
  const answers = [new Response('busy', { status: 503 }), Response.json({ free: 4 })]
  vi.stubGlobal('fetch', async () => answers.shift())
  expect(await askSupplier('http://supplier.invalid', 'lamp')).toBe(4)
})
