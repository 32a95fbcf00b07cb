import { describe, expect, test } from 'vitest'
import { classify } from '../../src/dump/classify.ts'
import type { Handle, HangFacts } from '../../src/dump/facts.ts'
import type { ServerFact } from '../../src/inspect/wait-facts.ts'
import { factsOf, frame, heldBy, suspended } from './sample-facts.ts'
import { waited, waitingFor } from './waits.ts'

const CLASS = 'await-never-settles-with-live-resource'

const handle = (kind: string, what: string, line: number | null, id = 1): Handle => ({
  id,
  kind,
  what,
  ref: true,
  ageMs: 100,
  created: [
    frame('connect', 'node:net:1:1'),
    ...(line === null ? [] : [frame('<anonymous>', `test/a.test.ts:${line}:5`, 'made')]),
  ],
})
const server = (port: number | null, path: string | null = null): ServerFact => ({
  port,
  path,
  listening: false,
  connections: 1,
})

describe('the line that made what is waited for', () => {
  test('is that of the watcher', () => {
    const facts = waitingFor({ name: 'FSWatcher' }, 'change', { handles: [handle('FSWatcher', '/tmp/conf', 4)] })
    const verdict = classify(facts)
    expect(verdict).toMatchObject({ class: CLASS, culprit: { line: 9 }, holder: { line: 4 } })
    expect(verdict.diagnosis).toContain('/tmp/conf')
  })

  test('is that of the connection that keeps a server open, and of no other connection', () => {
    const handles = [
      handle('Socket', '127.0.0.1:4711', 5, 1),
      handle('Socket', '127.0.0.1:9999', 6, 2),
      handle('Timeout', 'in 5000 ms', 7, 3),
    ]
    const facts = waitingFor({ name: 'Server', server: server(4711) }, 'close', { handles })
    const verdict = classify(facts)
    expect(verdict).toMatchObject({ class: CLASS, holder: { line: 5 } })
    expect(verdict.diagnosis).toContain('127.0.0.1:4711')
  })

  test('is that of the request when fetch made the connection on its own time', () => {
    const frames = [frame('<anonymous>', 'test/a.test.ts:5:15', 'await fetch(url)')]
    const facts = waitingFor({ name: 'Server', server: server(4711) }, 'close', {
      handles: [handle('Socket', '127.0.0.1:4711', null)],
      waitedFor: waited({
        fetches: [
          { port: 4711, at: 1, frames },
          { port: 80, at: 2, frames: [] },
        ],
      }),
    })
    expect(classify(facts)).toMatchObject({ class: CLASS, holder: { line: 5 } })
  })

  test('is found by the path of a unix socket', () => {
    const handles = [handle('UnixSocket', '/tmp/a.sock', 5), handle('UnixSocket', '/tmp/b.sock', 6)]
    const facts = waitingFor({ name: 'Server', server: server(null, '/tmp/a.sock') }, 'close', { handles })
    expect(classify(facts)).toMatchObject({ holder: { line: 5 } })
  })

  test('is not told when nothing fits', () => {
    const facts = waitingFor({ name: 'Server', server: server(4711) }, 'close', {
      handles: [handle('Socket', '127.0.0.1:9999', 6)],
    })
    expect(classify(facts)).not.toHaveProperty('holder')
  })
})

describe('a table of requests', () => {
  const lost = { proven: false, created: [], awaited: [] }
  const asking = (handles: Handle[]): HangFacts =>
    factsOf({
      awaits: [
        suspended(1, frame('ask', 'test/a.test.ts:9:3', 'await reply'), {
          heldBy: [heldBy('variable', 'variable pending.get("7")')],
        }),
      ],
      lost,
      resources: { PipeWrap: 2, MessagePort: 1 },
      handles,
    })

  test('is waited for by way of the one thing that could answer', () => {
    const verdict = classify(asking([handle('Worker', 'eval', 4), handle('Timeout', 'in 5000 ms', 7, 2)]))
    expect(verdict).toMatchObject({ class: CLASS, culprit: { line: 9 }, holder: { line: 4 } })
    expect(verdict.diagnosis).toContain('the Worker made at test/a.test.ts:4:5 is open and has not answered')
  })

  test('has no holder when several could answer', () => {
    const verdict = classify(asking([handle('Worker', 'eval', 4), handle('Socket', '127.0.0.1:1', 5, 2)]))
    expect(verdict.class).toBe(CLASS)
    expect(verdict).not.toHaveProperty('holder')
  })

  test('is lost when nothing is open that could', () => {
    expect(classify(asking([handle('Timeout', 'in 5000 ms', 7)])).class).toBe('lost-promise')
    expect(classify(asking([])).class).toBe('lost-promise')
  })
})
