import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { needsOpinion, withOpinions } from '../../harness/second-opinion.ts'
import { readOpinion } from '../../harness/worker/second-opinion.ts'
import type { Handle } from '../../src/dump/facts.ts'
import { renderDump } from '../../src/dump/render.ts'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import type { RawFrame } from '../../src/inspect/facts.ts'
import { frame } from '../dump/sample-facts.ts'
import { makeProject } from '../project.ts'
import { config, runSuite } from './suite.ts'

const REPORT = [
  'There are 3 handle(s) keeping the process running.',
  '',
  '# Timeout',
  'src/metrics.ts:12 - setInterval(() => {}, 20)',
  'src/main.ts:3     - start()',
  '',
  '# TCPSERVERWRAP',
  '/srv/app/a:b.ts:7',
  '',
  '# FSEVENTWRAP',
  '(unknown stack trace)',
]

const frames = (raw: RawFrame[]) => raw.map(({ at }) => frame('', `${at!.url.split('/').at(-1)}:${at!.line}:1`))
const handle = (kind: string, line: number | null): Handle => ({
  id: line ?? 0,
  kind,
  what: '',
  ref: true,
  ageMs: 1,
  created: line === null ? [] : [frame('', `metrics.ts:${line}:5`)],
})

test('the report is read: types, paths and lines', () => {
  const found = readOpinion(REPORT)
  expect(
    found.map(({ type, frames: list }) => [type, list.map(({ at }) => [at?.url.split('/').at(-1), at?.line])]),
  ).toEqual([
    [
      'Timeout',
      [
        ['metrics.ts', 12],
        ['main.ts', 3],
      ],
    ],
    ['TCPSERVERWRAP', [['a:b.ts', 7]]],
    ['FSEVENTWRAP', []],
  ])
  expect(readOpinion(['nonsense', ':', '# ', 'x:1 - y'])).toEqual([])
})

test('is given to a handle of the same kind that has no line, and to no other', () => {
  const [known, unknown, server] = withOpinions(
    [handle('Interval', 99), handle('Interval', null), handle('Socket', null)],
    readOpinion(REPORT),
    frames,
  )
  expect(known).toMatchObject({ created: [{ site: { line: 99 } }] })
  expect(unknown).toMatchObject({
    created: [{ site: { path: 'metrics.ts', line: 12 } }, {}],
    by: 'why-is-node-running',
  })
  expect(server).toMatchObject({ created: [] })
  expect(server).not.toHaveProperty('by')
})

test('what our own record knows already is not told again of another handle', () => {
  const [, unknown] = withOpinions([handle('Interval', 12), handle('Interval', null)], readOpinion(REPORT), frames)
  expect(unknown).not.toHaveProperty('by')
})

test('is asked for only when something that holds the worker has no line', () => {
  const raw = (url: string) => [{ fn: '', at: { url, line: 1, column: 1 } }]
  const isUser = (url: string) => url.startsWith('/app')
  expect(needsOpinion([{ ref: true, created: raw('/app/a.ts') }], isUser)).toBe(false)
  expect(needsOpinion([{ ref: false, created: [] }], isUser)).toBe(false)
  expect(needsOpinion([{ ref: true, created: raw('node:net') }], isUser)).toBe(true)
})

test('in a real run, an interval for which our own record took no stack gets its line', async () => {
  const project = makeProject({
    'a.test.ts': `
      import { test } from 'vitest'
      test('forgets', async () => {
        for (let i = 0; i < 3000; i++) clearTimeout(setTimeout(() => {}, 1000))
        setInterval(() => {}, 50)
        await new Promise(() => {})
      })`,
    'vitest.config.ts': config("{ leaks: 'off', hang: { grace: 300 } }"),
  })
  try {
    const { record, run } = await runSuite(project)
    expect(record.hangs, run.output).toMatchObject([{ class: 'lost-promise', confidence: 'certain' }])
    const dump = parseDumpRecord(JSON.parse(readFileSync(join(project.folder, record.hangs[0]!.dump!), 'utf8')))
    expect(dump.actors[0]?.resources).toContainEqual(
      expect.objectContaining({
        type: 'Interval',
        created: expect.objectContaining({ path: 'a.test.ts', line: 5 }),
        by: 'why-is-node-running',
      }),
    )
    expect(renderDump(dump)).toContain('created a.test.ts:5 (as why-is-node-running says of the second run)')
  } finally {
    project.remove()
  }
}, 90_000)
