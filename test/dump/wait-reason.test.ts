import { describe, expect, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import type { HangFacts } from '../../src/dump/facts.ts'
import { renderDump } from '../../src/dump/render.ts'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import { waitReason } from '../../src/dump/wait-reason.ts'
import { factsOf, frame, heldBy, suspended } from './sample-facts.ts'
import { child, stream, waited, waitingFor, waitingForChild, writable } from './waits.ts'

function reason(facts: HangFacts): string {
  const wait = waitReason(facts, facts.awaits![0]!)
  return wait === undefined ? 'nothing' : `${wait.reason}: ${wait.for}`
}

function held(owner: string, path = owner, rest = {}): HangFacts {
  return factsOf({
    awaits: [suspended(1, frame('f', 'test/a.test.ts:9:3', 'await x'), { heldBy: [heldBy(owner, path, rest)] })],
  })
}

describe('what a leaf waits for, by who can settle it', () => {
  test.each([
    [waitingForChild(child({ command: 'node job.js' })), "process exit: 'exit' of child 4912 `node job.js`"],
    [waitingForChild(child(), 'message'), "event: 'message' of child 4912 `node filter.js`"],
    [
      waitingFor({ name: 'Worker', worker: { threadId: 3, stdio: [] } }, 'message'),
      "worker message: 'message' of Worker #3",
    ],
    [
      waitingFor({ name: 'Server', server: { port: 80, path: null, listening: false, connections: 2 } }, 'close'),
      "event: 'close' of Server port 80 with 2 open connections",
    ],
    [
      waitingFor({ name: 'Socket', socket: { localPort: 1, remotePort: 5432, connecting: false } }, 'drain'),
      "io: 'drain' of Socket to port 5432",
    ],
    [
      waitingFor({ name: 'ClientRequest', request: { method: 'PUT', path: '/x', host: 'h', sent: false } }, 'response'),
      "io: 'response' of the request PUT h/x, which has not been sent to its end",
    ],
    [
      waitingFor({ name: 'Writable', stream: stream('Writable', { writable: writable({ length: 9 }) }) }, 'drain'),
      "stream space: 'drain' of a Writable: writable side with 9 of 65536, not ended",
    ],
    [held('Bus', 'Bus._events.ready', { event: 'ready' }), "event: 'ready' of Bus"],
    [held('Timeout', 'Timeout.callback', { fakeClock: true }), 'timer: a timer of a fake clock (Timeout.callback)'],
    [held('Timeout'), 'timer: a timer'],
    [held('GetAddrInfoReqWrap'), 'io: a DNS lookup'],
    [held('FSReqPromise'), 'io: the file system'],
    [held('module loader'), 'module load: the load of a module'],
    [held('Registry', 'Registry.replies.get("4")'), 'promise: a call of Registry.replies.get("4")'],
    [held('Mutex', 'Mutex.line[0]', { id: 4 }), 'lock: its turn in Mutex.line[0]'],
    [held('Lock', 'Lock'), 'lock: a web lock (navigator.locks)'],
  ])('%#', (facts, words) => {
    expect(reason(facts)).toBe(words)
  })

  test('a timer tells how long it is, and where it was made', () => {
    const facts = held('Timeout', 'Timeout._onTimeout', { id: 5 })
    const created = [frame('deadline', 'test/a.test.ts:4:5', 'setTimeout(reject, 90000)')]
    const timer = { id: 5, name: 'Timeout', asyncIds: [], handle: 8, timer: { ms: 90_000, repeats: false } }
    const handles = [{ id: 8, kind: 'Timeout', what: '', ref: true, ageMs: 9, created }]
    const wait = waitReason({ ...facts, handles, waitedFor: waited({ objects: [timer] }) }, facts.awaits![0]!)
    expect(wait).toMatchObject({ reason: 'timer', for: 'a timer of 90.000 s', created: { line: 4 } })
  })

  test('a function that waits for another one has no reason of its own', () => {
    expect(reason(factsOf({ awaits: [suspended(1, frame('f', 'test/a.test.ts:9:3'))] }))).toBe('nothing')
  })
})

describe('a ring of locks', () => {
  const FILE = 'test/lock-abba.test.ts'
  const wait = (fn: string, call: number, taken: number, by: string, other: 'flow' | 'waits' | 'left') => ({
    lock: 'Lock',
    style: 'queue' as const,
    method: 'lock',
    inner: [],
    call: frame(fn, `${FILE}:${call}:3`, 'await b.lock()'),
    outer: [],
    holders: [{ taken: frame(by, `${FILE}:${taken}:3`, 'await a.lock()'), missing: 1, by: other }],
  })
  const facts = (by: 'waits' | 'left'): HangFacts => {
    const waits = [wait('one', 12, 20, 'two', by), wait('two', 22, 10, 'one', by)]
    const awaits = waits.map((each, id) =>
      suspended(id, each.call, { heldBy: [heldBy('Lock', `Lock.waiting[${id}]`)] }),
    )
    return factsOf({ awaits, locks: { waits, others: [] } })
  }

  test('is printed as a ring, survives the way through a file, and makes the verdict certain', () => {
    const verdict = classify(facts('waits'))
    expect(verdict.confidence).toBe('certain')
    expect(verdict.cycles).toHaveLength(1)
    expect(verdict.cycles![0]).toEqual([
      expect.stringMatching(
        /^one\(\) at .*:12:3 waits for its turn in Lock\.lock\(\), which was taken by two\(\) at .*:20:3/,
      ),
      expect.stringMatching(/^two\(\) at .*:22:3 waits .* taken by one\(\) at .*:10:3/),
    ])
    const record = parseDumpRecord(JSON.parse(JSON.stringify(buildRecord(facts('waits'), verdict))))
    const text = renderDump(record)
    expect(text).toContain('== cycle (1 found) ==')
    expect(text).toContain('back to the first')
    expect(text).toContain(`waits for lock: its turn in Lock.lock(), taken at ${FILE}:20:3`)
  })

  test('is none when the holder has left', () => {
    const verdict = classify(facts('left'))
    expect(verdict.class).toBe('lock-or-semaphore-deadlock')
    expect(verdict.cycles).toBeUndefined()
    expect(verdict.confidence).not.toBe('certain')
  })
})

test('pending members of a combinator are printed below the await', () => {
  const leaf = suspended(1, frame('f', 'test/a.test.ts:9:3', 'await Promise.all(all)'), {
    members: { of: 'all', pending: [1, 3] },
  })
  const facts = factsOf({ awaits: [leaf] })
  const record = parseDumpRecord(JSON.parse(JSON.stringify(buildRecord(facts, classify(facts)))))
  expect(renderDump(record)).toContain('Promise.all: members 1 and 3 pending (counted from 0)')
})
