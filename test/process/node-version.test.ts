import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { nodeProblem } from '../../src/process/node-version.ts'

test.each([
  ['20.20.2', true],
  ['22.11.0', true],
  ['22.12.0', false],
  ['24.0.0', false],
  ['26.10.0', false],
])('Node %s is too old: %s', (version, old) => {
  const problem = nodeProblem(version)
  if (old) expect(problem).toBe(`Node ${version} is too old: harrow needs Node 22.12 or newer`)
  else expect(problem).toBeUndefined()
})

test('the oldest Node is that of package.json', () => {
  const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  expect(engines.node).toMatch(/^\^22\.12 /)
  expect(nodeProblem()).toBeUndefined()
})
