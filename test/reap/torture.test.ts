import { expect, it } from 'vitest'
import { complaintsAbout, type Outcome, possible, runScenario } from '../../scripts/dev/torture/scenarios.ts'

const LIMIT_MS = 240_000
const TRIALS = 10
const LANES = 2

// Each way to die at least once; `npm run torture:reaper` makes hundreds of trials.
it.skipIf(process.platform !== 'linux')(
  'nobody survives a run that is killed, however it is killed',
  async () => {
    const all = possible()
    const queue = Array.from({ length: TRIALS }, (_, n) => all[n % all.length]!)
    const outcomes: Outcome[] = []
    const limits = { parallel: 1, endAt: performance.now() + LIMIT_MS }
    const lane = async (): Promise<void> => {
      for (let next = queue.shift(); next; next = queue.shift()) outcomes.push(await runScenario(next, 1, limits))
    }
    await Promise.all(Array.from({ length: LANES }, lane))
    expect(outcomes.flatMap(complaintsAbout)).toEqual([])
    expect(outcomes.flatMap(({ trials }) => trials)).toHaveLength(TRIALS)
  },
  LIMIT_MS,
)
