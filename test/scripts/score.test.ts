import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Expectation, type Finding, judge, packagesOf, type RunFile, total } from '../../scripts/dev/score.ts'

const want: Expectation = {
  id: 'x',
  class: 'lost-promise',
  kind: 'hang',
  test: 'waits',
  culprit: 'x.test.ts:7',
  accept: ['x.test.ts:3'],
  holder: 'x.test.ts:1',
}
const right: Finding = {
  file: 'x.test.ts',
  test: ['suite', 'waits for it'],
  class: 'lost-promise',
  culprit: { path: 'x.test.ts', line: 7 },
  holder: { path: 'x.test.ts', line: 1 },
}
const record = (...hangs: Finding[]): RunFile => ({ hangs, leaks: [], orphans: [] })
const pointsOf = (change: Partial<Finding>) => judge('x.test.ts', want, record({ ...right, ...change })).points

describe('the score of a corpus file', () => {
  test('is full when test, line, holder and class are right', () => {
    expect(judge('x.test.ts', want, record(right))).toMatchObject({ points: 5, max: 5, culprit: 'exact' })
  })

  test('loses a point for an accepted line, two for a wrong one, one for each other mistake', () => {
    expect(pointsOf({ culprit: { path: 'x.test.ts', line: 3 } })).toBe(4)
    expect(pointsOf({ culprit: { path: 'x.test.ts', line: 4 } })).toBe(3)
    expect(pointsOf({ holder: undefined })).toBe(4)
    expect(pointsOf({ class: 'unknown' })).toBe(4)
    expect(pointsOf({ test: ['another'] })).toBe(4)
  })

  test('is that of the best report of the file', () => {
    expect(judge('x.test.ts', want, record({ ...right, class: 'unknown' }, right)).points).toBe(5)
    expect(judge('x.test.ts', want, record({ ...right, file: 'y.test.ts' })).culprit).toBe('not reported')
  })

  test('is below zero when a healthy file is reported', () => {
    const healthy: Expectation = { ...want, kind: 'healthy', culprit: null }
    const rows = [judge('x.test.ts', healthy, record(right)), judge('x.test.ts', healthy, record())]
    expect(total(rows)).toMatchObject({ points: -3, max: 0, alarms: 1, files: 0 })
  })
})

test('the packages that corpus files need are those that they import', () => {
  const folder = mkdtempSync(join(tmpdir(), 'harrow-score-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const text = `
import { test } from 'vitest'
import { once } from 'node:events'
import { readFile } from 'fs/promises'
import Pool from 'pg-pool'
import {
  filter,
} from 'rxjs/operators'
import { a } from '@scope/name/sub'
import { b } from './b.ts'
`
  writeFileSync(join(folder, 'a.test.ts'), text)
  expect(packagesOf(folder, ['a.test.ts'])).toEqual(['@scope/name', 'pg-pool', 'rxjs'])
})
