import { describe, expect, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import type { HangFacts } from '../../src/dump/facts.ts'
import { renderDump } from '../../src/dump/render.ts'
import { type DumpRecord, parseDumpRecord } from '../../src/dump/schema.ts'
import * as samples from './sample-facts.ts'
import { factsOf, frame, heldBy, suspended } from './sample-facts.ts'

const recordOf = (facts: HangFacts): DumpRecord => buildRecord(facts, classify(facts))

describe('whole dumps', () => {
  test.each([
    ['blocked-in-script', samples.SPIN()],
    ['blocked-in-a-child', samples.SYNC_CHILD()],
    ['held-by-a-server', samples.SERVER_CLOSE()],
    ['waiting-for-locks', samples.LOCK()],
    ['lost-promise', samples.LOST()],
    ['fake-timers', samples.FAKE_TIMERS()],
    ['top-level-await', samples.TOP_LEVEL_AWAIT()],
  ])('%s', async (name, facts) => {
    const record = recordOf(facts)
    await expect(renderDump(record)).toMatchFileSnapshot(`golden/${name}.txt`)
    // The text comes from the JSON form and from nothing else.
    expect(renderDump(parseDumpRecord(JSON.parse(JSON.stringify(record))))).toBe(renderDump(record))
  })

  test('drawn with ASCII characters', async () => {
    const facts = { ...samples.LOCK(), test: ['größer › “quoted” 試験', 'moves'] }
    const text = renderDump(recordOf(facts), { ascii: true })
    await expect(text).toMatchFileSnapshot('golden/ascii.txt')
    expect(text).toMatch(/^[\n -~]*$/)
  })
})

describe('the text', () => {
  test('keeps the order of header keys and of sections', () => {
    const text = renderDump(recordOf({ ...samples.FAKE_TIMERS(), lost: samples.LOST().lost }))
    const keys = [...text.slice(0, text.indexOf('\n\n')).matchAll(/^(\w+):/gm)].map((match) => match[1])
    expect(keys).toEqual([
      'test',
      'file',
      'limit',
      'backend',
      'pid',
      'class',
      'diagnosis',
      'culprit',
      'evidence',
      'hint',
    ])
    expect([...text.matchAll(/^== (.*) ==$/gm)].map((match) => match[1])).toEqual([
      'sync stack: root',
      'await tree: root',
      'lost promise',
      'fake timers',
      'active resources: root',
      'processes',
      'reproduce',
      'capture notes',
    ])
    for (const line of text.split('\n').slice(1, 11)) expect(line.slice(0, 13)).toMatch(/^\w+: +$/)
  })

  test('says in brackets why a section is empty', () => {
    const text = renderDump(recordOf(factsOf({ awaits: null, resources: null, processes: [] })))
    expect(text).toContain('== await tree: root ==\n(no heap snapshot was taken)')
    expect(text).toContain('== active resources: root ==\n(not taken)')
    expect(text).toContain('== processes ==\n(no process table was taken)')
  })

  test('escapes what a terminal would obey, in titles, locals, source and commands', () => {
    const evil = 'x\u001b[2J\n== fake ==\r\u0007\u2028'
    const text = renderDump(
      recordOf(
        factsOf({
          test: [evil],
          awaits: [
            suspended(1, frame(evil, 'test/a.test.ts:1:1', evil, { locals: { [evil]: evil } }), {
              heldBy: [heldBy(evil, evil)],
            }),
          ],
          processes: [{ pid: 1, ppid: 0, state: 'S', wchan: evil, command: evil }],
          missing: [evil],
        }),
      ),
    )
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u2028]/)
    expect(text).not.toMatch(/^== fake ==/m)
  })

  test('shows at most 8 locals of 120 characters', () => {
    const locals = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`v${i}`, 'y'.repeat(1000)]))
    const text = renderDump(
      recordOf(factsOf({ awaits: [suspended(1, frame('f', 'a.ts:1:1', 'await x', { locals }))] })),
    )
    const line = text.split('\n').find((one) => one.includes('v0 = ')) as string
    expect(line).toContain('v7 = ')
    expect(line).not.toContain('v8 = ')
    expect(line).toContain('and 4 more')
    expect(line.length).toBeLessThan(8 * 140)
  })

  test('draws a function that several wait for once, and ends in circles', () => {
    const awaits = [
      suspended(1, frame('a', 'a.ts:1:1')),
      suspended(2, frame('b', 'a.ts:2:1')),
      suspended(3, frame('shared', 'a.ts:3:1'), { awaitedBy: [1, 2, 4] }),
      suspended(4, frame('circle', 'a.ts:4:1'), { awaitedBy: [3] }),
      suspended(5, frame('self', 'a.ts:5:1'), { awaitedBy: [5] }),
    ]
    const text = renderDump(recordOf(factsOf({ awaits })))
    expect(text.match(/shared {2}a\.ts:3:1(?! {3}\(shown)/g)).toHaveLength(1)
    expect(text).toContain('(shown above)')
    expect(text).toContain('self  a.ts:5:1')
  })

  test('stays short for a heap with very many suspended functions', () => {
    const awaits = Array.from({ length: 20_000 }, (_, i) =>
      suspended(i, frame(`f${i}`, 'a.ts:1:1'), { awaitedBy: i === 0 ? [] : [i - 1] }),
    )
    const text = renderDump(recordOf(factsOf({ awaits })))
    expect(text.split('\n').length).toBeLessThan(600)
    expect(text).toMatch(/… \d+ more functions, see the JSON form/)
  })

  test('lists concurrent tests, and other classes of a guess', () => {
    const text = renderDump(recordOf({ ...samples.LOCK(), concurrent: [['a', 'b'], ['c']] }))
    expect(text).toContain('\nconcurrent:  a › b, c\n')
    expect(text).toContain('confidence: guess   also considered: lock-or-semaphore-deadlock')
  })

  test('renders what later versions of harrow put into actors: cycles, tasks, resources', () => {
    const record = recordOf(samples.LOCK())
    record.verdict.cycles = [['root/2', 'tally/5']]
    record.actors[0]!.resources = [
      { id: '#41', type: 'Pipe', ref: true, ageMs: 5000, what: 'channel', created: { path: 'a.ts', line: 3 } },
      { id: '#58', type: 'Timeout', ref: false },
    ]
    record.actors[0]!.tasks = [
      { id: 'root/2', name: 'body', parent: null, state: 'parked', wait: { reason: 'lock', sinceMs: 4998 } },
    ]
    const text = renderDump(record)
    expect(text).toContain('== cycle (1 found) ==\nroot/2 -> tally/5 -> back to root/2')
    expect(text).toContain('== active resources: root (1 keeps the loop alive, 1 does not) ==')
    expect(text).toContain('root/2 "body"   waits 4.998 s for lock')
  })
})

describe('the record', () => {
  test('hides secrets in locals, source, commands and sentences, and counts them', () => {
    const facts = factsOf({
      awaits: [
        suspended(
          1,
          frame('login', 'a.ts:1:1', "await login({ password: 'hunter2' })", {
            locals: { apiKey: 'hunter3', name: 'ann' },
          }),
          { heldBy: [heldBy('Server', 'Server._events.close')] },
        ),
      ],
      kernel: ['waiting for child 7 `curl -H "Authorization: Bearer hunter4hunter4"`'],
      processes: [
        { pid: 1, ppid: 0, state: 'S', wchan: null, command: 'psql --password=hunter5 postgres://u:hunter6@db/x' },
      ],
    })
    const record = recordOf(facts)
    const all = JSON.stringify(record) + renderDump(record)
    expect(all).not.toContain('hunter')
    expect(all).toContain('ann')
    expect(record.capture.redacted).toBe(5)
    expect(record.verdict.diagnosis).toContain("password: '[redacted]'")
  })

  test('carries the frame of the culprit with its source', () => {
    expect(recordOf(samples.SPIN()).verdict.culpritFrame).toMatchObject({
      site: { line: 13 },
      source: expect.stringContaining('while'),
    })
  })
})
