// npm run soak:fork: real forks in a row, none of them tried twice. --forks N (2000), --warm URL (modules of the warm list)
// --spareless (no child is forked ahead)
import { parseArgs } from 'node:util'
import { forksInARow } from './forks.ts'

const { values } = parseArgs({
  options: {
    forks: { type: 'string', default: '2000' },
    spareless: { type: 'boolean', default: false },
    warm: { type: 'string', multiple: true, default: [] },
  },
})
const { ends, before, after, ms } = await forksInARow(Number(values.forks), values.warm, values.spareless)
const bad = Object.entries(ends).reduce((n, [end, of]) => n + (end === 'well' ? 0 : of), 0)
console.log(`Node ${process.version}: ${JSON.stringify(ends)} in ${Math.round(ms / 1000)} s, without a second attempt`)
console.log(`zygote after 10: ${JSON.stringify(before)}\nzygote at end:   ${JSON.stringify(after)}`)
process.exitCode = bad > 0 ? 1 : 0
