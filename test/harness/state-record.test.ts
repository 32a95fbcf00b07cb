import { mkdtempSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { WorkerState } from '../../harness/protocol.ts'
import { closeRecord, encodeRecord, openRecord, readRecord } from '../../harness/state-record.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'harrow-record-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

function put(fd: number, value: WorkerState): void {
  const { bytes, length } = encodeRecord(value)
  writeSync(fd, bytes, 0, length, 0)
}

const state = (over: Partial<WorkerState> = {}): WorkerState => ({
  seq: 1,
  at: 2,
  phase: 'test',
  file: '/größe/ü.test.ts',
  suite: null,
  hook: null,
  running: [{ id: 'a_0', start: 1 }],
  sections: [],
  crumb: null,
  ...over,
})

test('what was written last is read, also when it is shorter than what stood there', () => {
  const path = join(dir, 'a')
  const fd = openRecord(path)
  put(fd, state({ file: 'x'.repeat(2000) }))
  put(fd, state())
  expect(readRecord(path)).toEqual(state())
  closeRecord(fd)
})

test('is readable by its owner only', () => {
  const path = join(dir, 'a')
  closeRecord(openRecord(path))
  expect(statSync(path).mode & 0o777).toBe(0o600)
})

test.each(['', 'zzzzzzzz{}', '00000005{"a"', 'ffffffff{}', '00000002{}extra', '-0000001{}'])(
  'never throws on %j',
  (text) => {
    const path = join(dir, 'a')
    writeFileSync(path, text)
    expect(() => readRecord(path)).not.toThrow()
  },
)

test('answers undefined for a file that is not there', () => {
  expect(readRecord(join(dir, 'none'))).toBeUndefined()
})

test('a record with very many concurrent tests is cut, not lost', () => {
  const running = Array.from({ length: 500 }, (_, i) => ({ id: `id_${i}`, start: i }))
  const path = join(dir, 'a')
  const fd = openRecord(path)
  put(fd, state({ running }))
  expect(readRecord(path)?.running.length).toBeGreaterThan(0)
  closeRecord(fd)
})

test('everything in a state comes back as it was', () => {
  const full = state({
    phase: 'hook',
    suite: '1_2',
    hook: 'beforeEach cleanup',
    sections: [{ test: 'a "b"\\', hook: null, start: 5, timeout: 2000 }],
    crumb: {
      call: 'fs.readFileSync',
      detail: '/tmp/ф\n',
      since: 7,
      frames: [{ fn: 'f', at: { url: '/x', line: 1, column: 2 } }],
    },
    sigusr1: true,
  })
  const path = join(dir, 'a')
  const fd = openRecord(path)
  put(fd, full)
  expect(readRecord(path)).toEqual(full)
  closeRecord(fd)
})

test('a breadcrumb that is larger than the record is left out, the rest stays', () => {
  const path = join(dir, 'a')
  const fd = openRecord(path)
  const crumb = { call: 'x', detail: 'y'.repeat(20_000), since: 1, frames: [] }
  put(fd, state({ crumb }))
  expect(readRecord(path)).toEqual(state())
  closeRecord(fd)
})
