import { describe, expect, test } from 'vitest'
import { BACKENDS } from '../actor/world.ts'
import { chaosRound } from './round.ts'

describe.each(BACKENDS)('chaos on %s', (backend) => {
  // Seeds that stay: what they do is known, and a failure can be run again alone.
  test.each([1, 2, 3, 4, 5, 6])(
    'seed %i ends in time, with nothing left',
    async (seed) => {
      const round = await chaosRound(seed * 7919, backend, 2)
      expect(round.ms).toBeGreaterThan(0)
    },
    60_000,
  )
})
