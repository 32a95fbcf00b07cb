// npm run fuzz: many more cases than the suite has. --cases N --seed N
import { parseArgs } from 'node:util'
import { fuzz } from './cases.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
})
const seed = Number(values.seed)
console.log(`seed ${seed}`)
const began = performance.now()
const result = await fuzz({ cases: Number(values.cases), seed })
console.log(
  JSON.stringify({
    ...result,
    grownMb: Math.round(result.grownMb),
    seconds: Math.round((performance.now() - began) / 1000),
  }),
)
