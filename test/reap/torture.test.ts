import { expect, it } from 'vitest'
import { complaintsAbout, type Outcome, possible, runScenario } from '../../scripts/dev/torture/scenarios.ts'

const LANES = 2
/** A busy machine makes fewer trials: none is started after this time. */
const ENOUGH_MS = 25_000
const LIMIT_MS = 400_000

// Each way to die once; `npm run torture:reaper` makes hundreds of trials.
it.skipIf(process.platform !== 'linux')(
  'nobody survives a run that is killed, however it is killed',
  async () => {
    const queue = possible()
    const outcomes: Outcome[] = []
    const endAt = performance.now() + ENOUGH_MS
    const lane = async (): Promise<void> => {
      for (let next = queue.shift(); next && performance.now() < endAt; next = queue.shift()) {
        outcomes.push(await runScenario(next, 1, { parallel: 1, endAt: Number.POSITIVE_INFINITY }))
      }
    }
    await Promise.all(Array.from({ length: LANES }, lane))
    expect(outcomes.flatMap(complaintsAbout)).toEqual([])
    expect(outcomes.flatMap(({ trials }) => trials).length).toBeGreaterThanOrEqual(LANES)
  },
  LIMIT_MS,
)
