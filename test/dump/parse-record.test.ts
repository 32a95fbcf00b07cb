import { describe, expect, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import { type DumpRecord, parseDumpRecord } from '../../src/dump/schema.ts'
import { UsageError } from '../../src/errors.ts'
import * as samples from './sample-facts.ts'

const good = (): DumpRecord => JSON.parse(JSON.stringify(buildRecord(samples.LOCK(), classify(samples.LOCK()))))

describe('reading a record', () => {
  test('accepts what harrow writes', () => {
    for (const facts of [samples.LOCK(), samples.SPIN(), samples.SYNC_CHILD(), samples.FAKE_TIMERS(), samples.LOST()]) {
      const record = JSON.parse(JSON.stringify(buildRecord(facts, classify(facts))))
      expect(parseDumpRecord(record)).toEqual(record)
    }
  })

  test('keeps fields that it does not know', () => {
    const record = { ...good(), later: { a: 1 }, header: { ...good().header, mood: 'fine' } }
    expect(parseDumpRecord(record)).toEqual(record)
  })

  test.each<[string, (record: DumpRecord) => void]>([
    ['header should be an object, but is missing', (r) => Reflect.deleteProperty(r, 'header')],
    ['header.pid should be a whole number, but is the string "7"', (r) => Object.assign(r.header, { pid: '7' })],
    ['header.test should be a list, but is the string "x"', (r) => Object.assign(r.header, { test: 'x' })],
    [
      'header.phase should be one of start, collect, hook, test, teardown, after-tests',
      (r) => Object.assign(r.header, { phase: 'no' }),
    ],
    ['verdict.evidence[1] should be a text, but is null', (r) => Object.assign(r.verdict, { evidence: ['a', null] })],
    [
      'actors[0].awaits[1].site.line should be a whole number, but is the number 1.5',
      (r) => Object.assign(r.actors[0]!.awaits![1]!.site, { line: 1.5 }),
    ],
    ['actors[0].tasks should be a list, but is missing', (r) => Reflect.deleteProperty(r.actors[0]!, 'tasks')],
    ['processes[0].state should be a text', (r) => Object.assign(r.processes[0]!, { state: 1 })],
    ['capture should be an object, but is a list', (r) => Object.assign(r, { capture: [] })],
    ['verdict.culprit should be an object', (r) => Object.assign(r.verdict, { culprit: 'a.ts:3' })],
    [
      'actors should be a list of at most 1000 items, but is a list of 1001',
      (r) => Object.assign(r, { actors: Array.from({ length: 1001 }, () => r.actors[0]) }),
    ],
    [
      'reproduce should be a list of at most 20000 items',
      (r) => Object.assign(r, { reproduce: Array(20_001).fill('x') }),
    ],
    ['reproduce[1] should be a text, but is missing', (r) => Object.assign(r, { reproduce: Array(2).fill('x', 0, 1) })],
  ])('says: %s', (message, damage) => {
    const record = good()
    damage(record)
    expect(() => parseDumpRecord(record)).toThrow(UsageError)
    expect(() => parseDumpRecord(record)).toThrow(message)
  })

  test.each([null, undefined, 5, 'x', [], {}, { format: '1' }])('refuses %j', (value) => {
    expect(() => parseDumpRecord(value)).toThrow(UsageError)
  })

  test('asks for an update when a newer harrow wrote the dump', () => {
    expect(() => parseDumpRecord({ format: 2 })).toThrow('update harrow')
  })
})
