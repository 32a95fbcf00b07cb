// npm run soak:fork: real forks in a row, none of them tried twice.
// --forks N (2000), --minutes N (ends then), --warm URL (modules of the warm list), --spareless (no child is forked ahead),
// --load N (so many shells that fork and wait for nothing else meanwhile)
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { forksInARow } from './forks.ts'

const { values } = parseArgs({
  options: {
    forks: { type: 'string', default: '2000' },
    minutes: { type: 'string', default: 'Infinity' },
    load: { type: 'string', default: '0' },
    spareless: { type: 'boolean', default: false },
    warm: { type: 'string', multiple: true, default: [] },
  },
})
const { warm, spareless } = values
// Each ends by itself when we are gone.
const shells = Array.from({ length: Number(values.load) }, () =>
  spawn('sh', ['-c', 'while kill -0 $PPID; do (:); done'], { stdio: 'ignore' }),
)
try {
  const options = { warm, spareless, minutes: Number(values.minutes) }
  const { ends, before, after, ms } = await forksInARow(Number(values.forks), options)
  const bad = Object.entries(ends).reduce((n, [end, of]) => n + (end === 'well' ? 0 : of), 0)
  console.log(
    `Node ${process.version}: ${JSON.stringify(ends)} in ${Math.round(ms / 1000)} s, without a second attempt`,
  )
  console.log(`zygote after 10: ${JSON.stringify(before)}\nzygote at end:   ${JSON.stringify(after)}`)
  process.exitCode = bad > 0 ? 1 : 0
} finally {
  const ended = shells.map((shell) => once(shell, 'exit'))
  for (const shell of shells) shell.kill('SIGTERM')
  await Promise.all(ended)
}
