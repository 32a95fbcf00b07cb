// Packs harrow, installs it into an empty project and checks what a user does first: import it, ask the command for
// its version, run a suite with a hang. Prints a line for each check; exit code 1 when one fails.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binOf, childEnv, manifest } from './checkout.ts'
import { type ChildResult, runChild } from './child.ts'
import { makeConsumer } from './consumer.ts'
import { readRunFile } from './score.ts'

const ENTRIES = ['harrow', 'harrow/vitest', 'harrow/reporters']
const STEP_MS = 60_000

const SUITE = `import { expect, test } from 'vitest'

test('spins', () => {
  const end = performance.now() + 20_000
  while (performance.now() < end) {}
})

test('adds', () => {
  expect(1 + 1).toBe(2)
})
`

const CONFIG = `import { defineConfig } from 'vitest/config'
import { harrow } from 'harrow/vitest'

export default defineConfig({ plugins: [harrow()], test: { testTimeout: 500 } })
`

const project = mkdtempSync(join(tmpdir(), 'harrow-smoke-'))
try {
  await makeConsumer(project)
  for (const entry of ENTRIES) check(`import ${entry}`, await imports(entry))
  check('npx harrow --version', await version())
  check('a suite with a hang', await hang())
} finally {
  rmSync(project, { recursive: true, force: true })
}

/** @param problem what is wrong, nothing when all is well */
function check(name: string, problem: string | undefined): void {
  console.log(problem === undefined ? `ok      ${name}` : `FAILED  ${name}: ${problem}`)
  if (problem !== undefined) process.exitCode = 1
}

function run(command: string, ...args: string[]): Promise<ChildResult> {
  return runChild(command, args, { cwd: project, env: childEnv({ NO_COLOR: '1', CI: 'true' }), limitMs: STEP_MS })
}

function verdict(result: ChildResult, good: boolean): string | undefined {
  const [survivor] = result.survivors
  if (survivor) return `left a process behind: ${survivor.pid} ${survivor.command}`
  if (result.late) return `was ended after ${STEP_MS / 1000} s\n${result.output}`
  return good ? undefined : `ended with ${result.code ?? result.signal}\n${result.output}`
}

async function imports(entry: string): Promise<string | undefined> {
  const script = `console.log(Object.keys(await import('${entry}')).length > 0 ? 'has exports' : 'has none')`
  const result = await run(process.execPath, '--input-type=module', '-e', script)
  return verdict(result, result.code === 0 && result.output === 'has exports\n')
}

async function version(): Promise<string | undefined> {
  const result = await run('npx', '--no-install', 'harrow', '--version')
  return verdict(result, result.code === 0 && result.stdout.trim() === manifest('harrow', project).version)
}

async function hang(): Promise<string | undefined> {
  writeFileSync(join(project, 'vitest.config.ts'), CONFIG)
  writeFileSync(join(project, 'spins.test.ts'), SUITE)
  const result = await run(process.execPath, binOf('vitest', 'vitest', project), 'run')
  const named = /HANG\s+spins\.test\.ts > spins/.test(result.output) && /1 failed \| 1 passed/.test(result.output)
  const recorded = readRunFile(join(project, '.harrow/run.json')).hangs.some(
    ({ file, test, culprit }) => file === 'spins.test.ts' && test?.at(-1) === 'spins' && culprit?.line === 5,
  )
  return verdict(result, result.code === 1 && named && recorded)
}
