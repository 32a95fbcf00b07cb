import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { root } from '../../scripts/dev/checkout.ts'
import { endMarked, MARK, marked } from '../../scripts/dev/child.ts'
import { cleanEnv } from '../project.ts'

/** In the place of vitest stands a program that says when it is there and takes no signal but SIGTERM and SIGKILL. */
const PROGRAM = `process.on('SIGINT', () => {}); console.error('there'); setInterval(() => {}, 1000)`
const mark = `test-command-${process.pid}`
let folder = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'harrow-test-command-'))
  mkdirSync(join(folder, 'node_modules/vitest'), { recursive: true })
  writeFileSync(join(folder, 'node_modules/vitest/package.json'), '{ "name": "vitest" }')
  writeFileSync(join(folder, 'node_modules/vitest/vitest.mjs'), PROGRAM)
})
afterAll(() => {
  endMarked(mark)
  rmSync(folder, { recursive: true, force: true })
})

function harrowTest(...args: string[]) {
  return spawn(process.execPath, [join(root, 'dist/scripts/harrow.js'), 'test', ...args], {
    cwd: folder,
    env: cleanEnv({ [MARK]: mark }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

test('a signal that ends harrow test ends vitest as well, and is its exit code', async () => {
  const child = harrowTest()
  await once(child.stderr, 'data')
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([143, null])
  expect(marked(mark)).toEqual([])
}, 30_000)

test('a signal ends a hammer: no further run is started, and what was done is told', async () => {
  const child = harrowTest('--hammer=500', '--json')
  let output = ''
  child.stdout.on('data', (text) => (output += text))
  // Its own output is kept for a run that fails: here only the process tells that it is there.
  await expect.poll(() => marked(mark).length, { timeout: 10_000 }).toBe(2)
  child.kill('SIGTERM')
  expect(await once(child, 'close')).toEqual([143, null])
  expect(JSON.parse(output)).toMatchObject({ runs: 0, failed: 0, rate: 0 })
  expect(marked(mark)).toEqual([])
}, 30_000)
