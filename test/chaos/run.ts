// npm run chaos: bounded random trees. --rounds N --backend NAME --seed N (one round) --streams K
import { parseArgs } from 'node:util'
import type { SpawnMethod } from '../../src/index.ts'
import { chaosRound } from './round.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    backend: { type: 'string', multiple: true, default: ['spawn', 'fork', 'thread'] },
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    depth: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '3600' },
  },
})
const until = performance.now() + 1000 * Number(values.seconds)
let failed = 0
for (const backend of values.backend as SpawnMethod[]) {
  const rounds = values.seed === undefined ? Number(values.rounds) : 1
  const harms = new Map<string, number>()
  let done = 0
  let longest = 0
  for (let i = 0; i < rounds && performance.now() < until; i++) {
    const seed = values.seed === undefined ? (Number(values.from) + i) * 2_654_435 : Number(values.seed)
    try {
      const round = await chaosRound(seed, backend, Number(values.depth))
      harms.set(round.harm, (harms.get(round.harm) ?? 0) + 1)
      longest = Math.max(longest, round.ms)
      done++
    } catch (error) {
      failed++
      console.log(
        `FAILED: npm run chaos -- --backend ${backend} --seed ${seed}\n${error instanceof Error ? error.stack : String(error)}`,
      )
    }
  }
  const kinds = [...harms].map(([harm, n]) => `${harm} ${n}`).join(', ')
  console.log(`${backend}: ${done} rounds well, longest ${longest} ms (${kinds})`)
}
console.log(`${failed} failed`)
process.exit(failed > 0 ? 1 : 0)
