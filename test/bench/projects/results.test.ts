import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { ChildResult } from '../../../scripts/dev/child.ts'
import { count, differences, type Outcome, readOutcome } from './results.ts'

function outcome(statuses: Record<string, string[]>, exit: Partial<ChildResult> = {}, record?: object): Outcome {
  const folder = mkdtempSync(join(tmpdir(), 'hrwp-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const testResults = Object.entries(statuses).map(([file, all]) => ({
    name: join(folder, file),
    status: all.includes('failed') ? 'failed' : 'passed',
    assertionResults: all.map((status) => ({ fullName: 'adds', status })),
  }))
  writeFileSync(join(folder, 'report.json'), JSON.stringify({ testResults }))
  if (record) writeFileSync(join(folder, 'run.json'), JSON.stringify(record))
  const run = { code: 0, signal: null, output: '', stdout: '', late: false, ms: 1, survivors: [], ...exit }
  return readOutcome(run, join(folder, 'report.json'), join(folder, 'run.json'), folder)
}

test('runs that came to the same do not differ, in whatever order a name that repeats was run', () => {
  const a = outcome({ 'a.test.ts': ['passed', 'failed'] }, { code: 1 })
  const b = outcome({ 'a.test.ts': ['failed', 'passed'] }, { code: 1 })
  expect(differences(a, b)).toEqual([])
  expect(count(a, 'failed')).toBe(1)
})

test('a status, a test that is missing, a file without tests and the exit are told', () => {
  const a = outcome({ 'a.test.ts': ['passed', 'passed'], 'b.test.ts': ['passed'], 'c.test.ts': [] })
  const b = outcome({ 'a.test.ts': ['passed', 'failed'], 'c.test.ts': ['passed'] }, { code: null, late: true })
  expect(differences(a, b)).toEqual([
    'a.test.ts > adds: passed, passed / failed, passed',
    'b.test.ts > adds: passed / missing',
    'c.test.ts > (file): passed / missing',
    'c.test.ts > adds: missing / passed',
    'exit: 0 / ended at its limit',
  ])
})

test('what harrow reports and says of itself is kept', () => {
  const leak = { file: 'a.test.ts', test: ['a', 'b'], diagnosis: 'a server is open' }
  const { reports, notes } = outcome(
    {},
    { output: 'x\n harrow: the pool zygote cannot fork: no koffi.\n' },
    { leaks: [leak] },
  )
  expect(reports).toEqual(['leak: a.test.ts > a > b: a server is open'])
  expect(notes).toEqual(['the pool zygote cannot fork: no koffi.'])
})
