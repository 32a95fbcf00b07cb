// npm run fuzz:dump: many more cases than the suite has. --cases N --seed N --first N
import { parseArgs } from 'node:util'
import { fuzzDumps } from './fuzz.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '10000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    first: { type: 'string', default: '0' },
  },
})
const seed = Number(values.seed)
console.log(`seed ${seed}`)
const began = performance.now()
const { counts, slowest, peakMb, cases } = await fuzzDumps({
  cases: Number(values.cases),
  seed,
  first: Number(values.first),
})
console.table(counts)
console.log(
  `${cases} cases in ${Math.round((performance.now() - began) / 1000)} s, slowest ${Math.round(slowest.ms)} ms (case ${slowest.number}, ${slowest.kind}), peak ${peakMb} MB`,
)
