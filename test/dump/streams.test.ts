import { describe, expect, test } from 'vitest'
import { classify } from '../../src/dump/classify.ts'
import type { HangFacts, TracedStream } from '../../src/dump/facts.ts'
import type { StreamFact } from '../../src/inspect/wait-facts.ts'
import { factsOf, frame } from './sample-facts.ts'
import { readable, stream, waitingFor, writable } from './waits.ts'

const PIPE = 'pipe-or-backpressure-deadlock'
const full = readable({ length: 65536 })
const stuck = writable({ length: 65536, needDrain: true })

const onStream = (fact: StreamFact, event: string): HangFacts => waitingFor({ name: fact.name, stream: fact }, event)

/** A test whose await was lost, with the streams that the second run remembers. */
function lostOn(streams: TracedStream[], proven = true): HangFacts {
  const at = frame('<anonymous>', 'test/a.test.ts:9:3', 'await pipeline(a, b)')
  return factsOf({
    awaits: [],
    body: 'async',
    lost: { proven, created: proven ? [at] : [], awaited: proven ? [at] : [], streams },
  })
}

const listening = (fact: StreamFact, event: string, line = 9, destroyed: number | null = null): TracedStream => ({
  stream: fact,
  listens: [
    { event, frames: [frame('once', 'node:events:1:1'), frame('<anonymous>', `test/a.test.ts:${line}:9`, 'await it')] },
  ],
  destroyed: destroyed === null ? [] : [frame('<anonymous>', `test/a.test.ts:${destroyed}:5`, 'sink.destroy()')],
})

describe('a wait for a stream', () => {
  test.each<[string, StreamFact, string, string]>([
    [
      'is full and unread',
      stream('PassThrough', { transform: true, readable: full, writable: stuck }),
      'drain',
      'unread',
    ],
    ['ends in one that is unread', piped(), 'finish', 'unread'],
    ['is destroyed', stream('Writable', { destroyed: true, closed: true, writable: stuck }), 'drain', 'destroyed'],
    ['is corked', stream('Writable', { writable: writable({ length: 3, corked: true }) }), 'finish', 'corked'],
    ['never calls back', stream('Writable', { writable: stuck }), 'drain', 'not-taken'],
    ['is ended and not finished', stream('Writable', { writable: writable({ ended: true }) }), 'finish', 'final'],
    ['is never ended', stream('Writable', { writable: writable() }), 'finish', 'not-ended'],
    [
      'is never ended and read',
      stream('PassThrough', { transform: true, readable: readable({ flowing: true }), writable: writable() }),
      'end',
      'not-ended',
    ],
    ['is not read', stream('Readable', { readable: readable({ length: 1 }) }), 'end', 'paused'],
  ])('that %s is a matter of backpressure', (_, fact, event, variant) => {
    const verdict = classify(onStream(fact, event))
    expect(verdict).toMatchObject({ class: PIPE, variant, culprit: { line: 9 } })
    expect(verdict.diagnosis).toContain((fact.into ?? fact).name)
    if (variant === 'not-taken') expect(verdict.diagnosis).toContain(`'${event}' does not come`)
  })

  test.each<[string, StreamFact, string]>([
    ['has finished before', stream('Writable', { writable: writable({ finished: true, ended: true }) }), 'finish'],
    ['has ended before', stream('Readable', { readable: readable({ endEmitted: true, ended: true }) }), 'end'],
    ['flows', stream('Readable', { readable: readable({ flowing: true, readers: 1 }) }), 'end'],
    [
      'is a socket that is not ended',
      stream('Socket', { readable: readable({ flowing: true }), writable: writable() }),
      'data',
    ],
    [
      'is a full socket',
      stream('Socket', { readable: readable({ length: 65536, flowing: true, readers: 1 }), writable: writable() }),
      'close',
    ],
    ['is asked for what is no event of streams', stream('Http2Stream', { writable: writable() }), 'response'],
    ['is asked for something else', stream('Readable', { readable: readable({ length: 1 }) }), 'ready'],
  ])('that %s is not', (_, fact, event) => {
    expect(classify(onStream(fact, event)).class).not.toBe(PIPE)
  })
})

describe('streams that were collected', () => {
  test('are told by what the second run remembers of them', () => {
    const fact = stream('PassThrough', { transform: true, readable: full, writable: stuck })
    expect(classify(lostOn([listening(fact, 'finish')]))).toMatchObject({
      class: PIPE,
      variant: 'unread',
      confidence: 'certain',
      culprit: { line: 9 },
    })
  })

  test('are only those that the lost await is about', () => {
    const fact = stream('PassThrough', { transform: true, readable: full, writable: stuck })
    expect(classify(lostOn([listening(fact, 'finish', 33)])).class).toBe('lost-promise')
  })

  test('name who destroyed one', () => {
    const fact = stream('Writable', { destroyed: true, closed: true, writable: stuck })
    expect(classify(lostOn([listening(fact, 'drain', 9, 18)]))).toMatchObject({
      class: PIPE,
      variant: 'destroyed',
      holder: { line: 18 },
    })
  })

  test('blame the cause and not the streams that merely wait for it', () => {
    const through = stream('Readable', { destroyed: true, readable: readable({ ended: true, endEmitted: true }) })
    const last = stream('Writable', { writable: writable() })
    const cause = stream('Transform', {
      transform: true,
      readable: readable({ flowing: true }),
      writable: writable({ length: 6 }),
    })
    const streams = [listening(through, 'end'), listening(last, 'finish'), listening(cause, 'finish')]
    expect(classify(lostOn(streams))).toMatchObject({ variant: 'not-taken' })
  })

  test('are a guess when no loss was proven', () => {
    const fact = stream('PassThrough', { transform: true, readable: full, writable: stuck })
    expect(classify(lostOn([listening(fact, 'drain')], false))).toMatchObject({
      class: PIPE,
      confidence: 'guess',
      culprit: { line: 9 },
    })
  })

  test('are not what a function that is not async waits for, unless that was proven', () => {
    const fact = stream('PassThrough', { transform: true, readable: full, writable: stuck })
    const facts = lostOn([listening(fact, 'drain')], false)
    expect(classify({ ...facts, body: 'plain' }).class).not.toBe(PIPE)
  })

  test('may be sides of a web stream', () => {
    const fact = stream('WritableStreamDefaultWriter', { web: true })
    const verdict = classify(lostOn([listening(fact, 'write')]))
    expect(verdict).toMatchObject({ class: PIPE, variant: 'web', confidence: 'likely' })
  })
})

describe('a wait for a worker thread', () => {
  const worker = (part: 'stdin' | 'stdout', fact: StreamFact): HangFacts => {
    const created = [frame('<anonymous>', 'test/a.test.ts:6:13', 'new Worker(file)')]
    return waitingFor({ name: 'Worker', worker: { threadId: 3, stdio: [{ part, stream: fact }] } }, 'exit', {
      handles: [{ id: 1, kind: 'Worker', what: 'file', ref: true, ageMs: 10, created }],
    })
  }

  test('is blamed on its stdout when that is full, and on its stdin when that is open', () => {
    const out = stream('ReadableWorkerStdio', { readable: full })
    expect(classify(worker('stdout', out))).toMatchObject({ class: PIPE, variant: 'full-stdout', holder: { line: 6 } })
    const input = stream('WritableWorkerStdio', { writable: writable() })
    expect(classify(worker('stdin', input))).toMatchObject({ class: PIPE, variant: 'stdin-open' })
  })

  test('is one for a live resource else, with the line that made it', () => {
    const out = stream('ReadableWorkerStdio', { readable: readable({ flowing: true, readers: 1 }) })
    expect(classify(worker('stdout', out))).toMatchObject({
      class: 'await-never-settles-with-live-resource',
      holder: { line: 6 },
    })
  })
})

function piped(): StreamFact {
  const into = stream('PassThrough', { transform: true, readable: full, writable: stuck })
  return stream('Transform', {
    transform: true,
    readable: readable({ flowing: false, readers: 1 }),
    writable: stuck,
    into,
  })
}
