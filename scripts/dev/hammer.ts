// npm run hammer: the runtime's tests many times over, several at once, on each backend.
// A file that holds more at its end than at its begin has failed (test/hammer-probe.ts). --times N --streams K --backend NAME
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './checkout.ts'
import { runChild } from './child.ts'

const { values } = parseArgs({
  options: {
    times: { type: 'string', default: '10' },
    streams: { type: 'string', default: '3' },
    backend: { type: 'string', multiple: true, default: ['spawn', 'fork', 'thread'] },
  },
})
const LIMIT_MS = 60 * 60_000
const runtime = join(process.env.HARROW_RUNTIME_DIR ?? process.env.XDG_RUNTIME_DIR ?? '/tmp', '')
const sockets = (): number => {
  try {
    return readdirSync(join(runtime, `harrow-${process.getuid?.()}`)).filter((name) => name.endsWith('.sock')).length
  } catch {
    return 0
  }
}

let bad = 0
for (const backend of values.backend) {
  const before = sockets()
  const args = [
    join(root, 'scripts/harrow.ts'),
    'test',
    `--hammer=${values.times}`,
    `--streams=${values.streams}`,
    '--backend',
    backend,
  ]
  const run = await runChild(
    process.execPath,
    [...args, '--json', 'test/actor', 'test/scope', 'test/wire', 'test/spawn', 'test/chaos'],
    {
      cwd: root,
      limitMs: LIMIT_MS,
      stderr: (text) => process.stderr.write(text.replace(/^(?=.)/gm, `${backend}: `)),
    },
  )
  if (!run.stdout.includes('{')) {
    console.error(`${backend}: ended before its result (${run.signal ?? `exit code ${run.code}`})\n${run.output}`)
    process.exit(1)
  }
  const result = JSON.parse(run.stdout.slice(run.stdout.indexOf('{'))) as {
    runs: number
    failed: number
    failures: { output: string }[]
  }
  const left = run.survivors.length
  bad += result.failed + left
  console.log(
    `${backend}: ${result.failed} of ${result.runs} runs failed, ${left} processes left, ${sockets() - before} sockets more, ${Math.round(run.ms / 1000)} s`,
  )
  for (const { output } of result.failures) console.log(`   ${output}`)
}
process.exitCode = bad > 0 ? 1 : 0
