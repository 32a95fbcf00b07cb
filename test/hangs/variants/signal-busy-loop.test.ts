// expect: {"id":"signal-busy-loop","class":"signal-not-delivered","test":"interrupts the solver","culprit":"signal-busy-loop.test.ts:18","accept":["signal-busy-loop.test.ts:25"],"holder":"signal-busy-loop.test.ts:23","kind":"hang","mustMention":["SIGINT"]}
// The child has a handler, but never comes to its event loop to run it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'

const SOLVER = `
  process.on('SIGINT', () => process.exit(0))
  console.log('solving')
  const stop = Date.now() + 60000
  while (Date.now() < stop) {}
  process.exit(3)
`

async function stop(child: ReturnType<typeof spawn>): Promise<number> {
  const ended = once(child, 'exit')
  child.kill('SIGINT')
  const [code] = await ended
  return code
}

test('interrupts the solver', async () => {
  const solver = spawn(process.execPath, ['-e', SOLVER], { stdio: ['ignore', 'pipe', 'ignore'] })
  await once(solver.stdout, 'data')
  expect(await stop(solver)).toBe(0)
})
