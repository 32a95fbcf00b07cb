// npm test: builds dist, which child runs in the suite use, then runs our own suite. Arguments go on to vitest.

import { build } from './build.ts'
import { binOf, childEnv, root } from './checkout.ts'
import { runChild } from './child.ts'

const LIMIT_MS = 17 * 60_000

if (!build()) {
  process.exitCode = 1
} else {
  const args = process.argv.slice(2)
  const verb = args.includes('--watch') ? [] : ['run']
  const run = await runChild(process.execPath, [binOf('vitest'), ...verb, ...args], {
    cwd: root,
    env: childEnv(),
    limitMs: args.includes('--watch') ? 2 ** 31 - 1 : LIMIT_MS,
    output: 'show',
  })
  if (run.late) console.error(`npm test: ended after ${LIMIT_MS / 60_000} minutes`)
  for (const { pid, command } of run.survivors) console.error(`npm test: left a process behind: ${pid} ${command}`)
  process.exitCode = run.code === 0 && run.survivors.length > 0 ? 1 : (run.code ?? 1)
}
