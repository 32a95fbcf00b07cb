import { describe, expect, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import type { HangFacts, OtherThread } from '../../src/dump/facts.ts'
import { renderDump } from '../../src/dump/render.ts'
import { parseDumpRecord } from '../../src/dump/schema.ts'
import { factsOf, frame, heldBy, suspended } from './sample-facts.ts'
import { child, waitingForChild } from './waits.ts'

const idle: OtherThread = {
  label: 'worker thread 3',
  pid: 4812,
  threadId: 3,
  state: 'idle',
  sync: null,
  awaits: [suspended(9, frame('serve', 'src/worker.ts:8:3', "await once(port, 'job')"), { owner: null })],
  kernel: [],
  notes: [],
}
const spinning: OtherThread = {
  ...idle,
  label: 'worker thread 5 (hasher)',
  threadId: 5,
  state: 'blocked',
  sync: {
    frames: [frame('hash', 'src/hash.ts:4:3', 'for (;;) turns++'), frame('run', 'node:internal/worker:1:1')],
    second: [frame('hash', 'src/hash.ts:4:3', 'for (;;) turns++')],
    microtasks: 'still',
  },
  awaits: null,
}

function waitingForThread(others: OtherThread[], threadId: number | null = 5): HangFacts {
  return factsOf({
    awaits: [
      suspended(1, frame('<anonymous>', 'test/a.test.ts:9:3', "await once(worker, 'message')"), {
        heldBy: [heldBy('Worker', 'Worker._events.message', { event: 'message', id: 70 })],
      }),
    ],
    others,
    ...(threadId !== null && {
      waitedFor: {
        objects: [{ id: 70, name: 'Worker', asyncIds: [], worker: { threadId, stdio: [] } }],
        children: [],
        sockets: [],
        signals: [],
        fetches: [],
      },
    }),
  })
}

describe('a wait for a worker thread', () => {
  test('is held by the line at which that thread is busy', () => {
    const verdict = classify(waitingForThread([idle, spinning]))
    expect(verdict).toMatchObject({
      class: 'await-never-settles-with-live-resource',
      culprit: { path: 'test/a.test.ts', line: 9 },
      holder: { path: 'src/hash.ts', line: 4 },
    })
    expect(verdict.diagnosis).toContain(
      'that thread sends nothing, for it is busy at `for (;;) turns++` (src/hash.ts:4:3)',
    )
  })

  test('tells where an idle thread waits, and lays no blame on that line', () => {
    const verdict = classify(waitingForThread([idle, spinning], 3))
    expect(verdict.diagnosis).toContain("for it waits at `await once(port, 'job')` (src/worker.ts:8:3)")
    expect(verdict.holder).toBeUndefined()
  })

  test('guesses no thread among several', () => {
    const verdict = classify(waitingForThread([idle, spinning], null))
    expect(verdict.diagnosis).toContain('the other side is alive but has sent nothing')
    expect(classify(waitingForThread([spinning], null)).diagnosis).toContain('src/hash.ts:4:3')
  })

  test('is not explained by a thread of another process', () => {
    const verdict = classify(waitingForThread([{ ...spinning, pid: 99 }]))
    expect(verdict.diagnosis).not.toContain('src/hash.ts')
  })
})

describe('a wait for a child process', () => {
  const job: OtherThread = { ...idle, label: 'child 4912 node filter.js', pid: 4912, threadId: 0 }

  test('tells the line at which the child waits; the line that started it stays the holder', () => {
    const verdict = classify({ ...waitingForChild(child({})), others: [job] })
    expect(verdict).toMatchObject({ class: 'child-process-stuck', holder: { path: 'test/a.test.ts', line: 7 } })
    expect(verdict.diagnosis).toContain("; its code waits at `await once(port, 'job')` (src/worker.ts:8:3)")
    expect(verdict.evidence.join('\n')).toContain("in the child, the main thread waits at `await once(port, 'job')`")
  })

  test('prefers a thread of the child that is busy', () => {
    const thread = { ...spinning, pid: 4912, label: 'worker thread 1 of child 4912' }
    const verdict = classify({ ...waitingForChild(child({})), others: [job, thread] })
    expect(verdict.diagnosis).toContain('its code is busy at `for (;;) turns++` (src/hash.ts:4:3)')
    expect(verdict.evidence.join('\n')).toContain('in the child, worker thread 1 of child 4912 is busy')
  })

  test('says nothing of a child that was not attached to', () => {
    const unseen: OtherThread = { ...job, state: 'unseen', awaits: null }
    expect(classify({ ...waitingForChild(child({})), others: [unseen] }).diagnosis).not.toContain('its code')
  })
})

describe('the dump', () => {
  const facts = waitingForThread([
    idle,
    spinning,
    {
      ...idle,
      label: 'child 4912 sh -c curl --token=hunter22 x',
      pid: 4912,
      threadId: 0,
      state: 'unseen',
      awaits: null,
      kernel: ['main thread is blocked in read(2) on fd 3 (FIFO /tmp/queue)'],
      notes: ['not attached: it is no Node process'],
    },
  ])
  const record = buildRecord({ ...facts, budgets: ['threads and processes of the test: 3.0 s'] }, classify(facts))

  test('has a section for each thread and process, and survives its JSON form', () => {
    const again = parseDumpRecord(JSON.parse(JSON.stringify(record)))
    const text = renderDump(again)
    expect(text).toContain(
      "== suspended: worker thread 3 ==\nidle; suspended are\n└─ serve  src/worker.ts:8:3   await once(port, 'job')\n",
    )
    expect(text).toContain(
      '== sync stack: worker thread 5 (hasher) ==\nbusy; its event loop does not turn\n   hash  src/hash.ts:4:3   for (;;) turns++\n   … 1 frame in node:internal\nsecond look: the same line\n',
    )
    expect(text).toContain(
      'kernel: main thread is blocked in read(2) on fd 3 (FIFO /tmp/queue)\n(not attached: it is no',
    )
    expect(text).toContain('time for threads and processes of the test: 3.0 s\n')
  })

  test('hides secrets in what another process is called', () => {
    expect(JSON.stringify(record)).not.toContain('hunter22')
    expect(renderDump(record)).toContain('== child 4912 sh -c curl --token=[redacted] x ==')
  })

  test('is refused when a thread is not what it should be', () => {
    const broken = { ...JSON.parse(JSON.stringify(record)), others: [{ label: 1 }] }
    expect(() => parseDumpRecord(broken)).toThrow(/others\[0\]\.label/)
  })
})
