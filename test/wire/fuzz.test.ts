import { describe, expect, test } from 'vitest'
import { fuzz } from './fuzz/cases.ts'

describe('fuzz', () => {
  test('hostile frames and handshakes end in an error, never in a crash, a hang or much memory', async () => {
    const { cases, decoded, refused, grownMb } = await fuzz({ cases: 3000, seed: 20_261_124 })
    expect(cases).toBe(3000)
    expect(decoded + refused).toBeGreaterThan(0)
    expect(grownMb).toBeLessThan(256)
  }, 60_000)
})
