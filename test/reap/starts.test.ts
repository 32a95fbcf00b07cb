import { appendFileSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { noteStart, readStarts } from '../../src/reap/starts.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'harrow-starts-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('a note is found again by its mark, and only its owner can read it', () => {
  const one = { mark: 'r.1.1', test: 'a > b', file: 'a.test.ts' }
  const two = { mark: 'r.1.2', test: '', file: 'b.test.ts' }
  noteStart(folder, one)
  noteStart(folder, two)
  expect([...readStarts(folder)]).toEqual([
    ['r.1.1', one],
    ['r.1.2', two],
  ])
  expect(statSync(join(folder, 'starts.jsonl')).mode & 0o777).toBe(0o600)
})

test('torn and foreign lines are left out, and a missing file is an empty one', () => {
  noteStart(folder, { mark: 'r.1.1', test: 'a', file: 'a.test.ts' })
  appendFileSync(join(folder, 'starts.jsonl'), '{"mark":1,"test":"x","file":"y"}\nnull\n[]\n{"mark":"r.1.2","te')
  expect([...readStarts(folder).keys()]).toEqual(['r.1.1'])
  expect(readStarts(join(folder, 'missing')).size).toBe(0)
})

test('a folder that cannot be written costs only the note', () => {
  expect(() => noteStart(join(folder, 'missing'), { mark: 'r.1.1', test: 'a', file: 'b' })).not.toThrow()
})
