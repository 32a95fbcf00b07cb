// npm run demo: runs examples/hanging-suite with harrow, as a user would, and checks that each hang was named.
import { readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { build } from './build.ts'
import { binOf, childEnv, linkHarrow, root } from './checkout.ts'
import { runChild } from './child.ts'
import { type Finding, readRunFile } from './score.ts'

const LIMIT_MS = 60_000
const SUITE = join(root, 'examples/hanging-suite')

const HANGS = [
  ['test/stock.test.ts', 'moves a reservation to another product'],
  ['test/catalogue.test.ts', 'is ready after loading'],
  ['test/prices.test.ts', 'waits for the first exchange rate'],
  ['test/supplier.test.ts', 'asks again after a failure'],
  ['test/smoke.test.ts', 'answers the command-line client'],
] as const

process.exitCode = await demo()

async function demo(): Promise<number> {
  if (!build()) return 1
  linkHarrow(SUITE)
  rmSync(join(SUITE, '.harrow'), { recursive: true, force: true })
  const run = await runChild(process.execPath, [binOf('vitest'), 'run'], {
    cwd: SUITE,
    env: childEnv(),
    limitMs: LIMIT_MS,
    output: 'show',
  })
  const { hangs, missing } = readRunFile(join(SUITE, '.harrow/run.json'))
  tell(hangs)

  const complaints: string[] = []
  if (missing !== undefined) complaints.push(`there is no run record: ${missing}`)
  if (run.late) complaints.push(`the run was ended after ${LIMIT_MS / 1000} s`)
  else if (run.code === 0) complaints.push('the run ended with exit code 0')
  for (const [file, test] of HANGS) {
    const found = hangs.find((hang) => hang.file === file && hang.test?.at(-1) === test)
    if (found === undefined) complaints.push(`not reported: ${file} > ${test}`)
    else if (found.culprit === undefined) complaints.push(`reported without a line: ${file} > ${test}`)
  }
  if (hangs.length > HANGS.length) complaints.push(`${hangs.length} hangs were reported, not ${HANGS.length}`)
  for (const { pid, command } of run.survivors) complaints.push(`left behind: ${pid} ${command}`)
  for (const complaint of complaints) console.error(`demo: ${complaint}`)
  return complaints.length === 0 ? 0 : 1
}

function tell(hangs: Finding[]): void {
  const [first] = hangs
  console.log(`\nDumps, one text and one JSON file a hang: ${relative(process.cwd(), join(SUITE, '.harrow/dumps'))}`)
  if (first?.dump !== undefined) {
    const path = join(SUITE, first.dump.replace(/\.json$/, '.txt'))
    console.log(`The head of the first one:\n\n${indent(headOf(path))}\n`)
  }
  console.log(
    "Next: open a dump, or add `plugins: [harrow()]` from 'harrow/vitest' to the vitest config of your project.",
  )
}

/** The header of a dump: everything above the first section. */
function headOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').split(/^== /m, 1)[0]?.trim() ?? ''
  } catch (error) {
    return `(not readable: ${error instanceof Error ? error.message : error})`
  }
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ')
}
