import { describe, expect, test } from 'vitest'
import { classify } from '../../src/dump/classify.ts'
import type { HangFacts, LockWaitFrames } from '../../src/dump/facts.ts'
import { factsOf, frame, heldBy, OWNER, suspended } from './sample-facts.ts'

const FILE = 'test/bank.test.ts'
const CALL = frame('transfer', `${FILE}:28:3`, 'await to.lock()')
const INNER = frame(
  'lock',
  `${FILE}:10:20`,
  'if (this.held) await new Promise((resolve) => this.waiting.push(resolve))',
)
const TAKEN = frame('transfer', `${FILE}:26:3`, 'await from.lock()')

function waitOf(changes: Partial<LockWaitFrames> = {}): LockWaitFrames {
  return {
    lock: 'Lock',
    style: 'queue',
    method: 'lock',
    inner: [INNER],
    call: CALL,
    outer: [frame('<anonymous>', `${FILE}:38:3`, 'await Promise.all([transfer(a, b), transfer(b, a)])')],
    holders: [{ taken: TAKEN, missing: 2, by: 'waits' }],
    ...changes,
  }
}

function hang(wait: LockWaitFrames, changes: Partial<HangFacts> = {}): HangFacts {
  return factsOf({
    lost: { proven: true, created: [], awaited: [INNER] },
    locks: { waits: [wait], others: [] },
    ...changes,
  })
}

describe('lock-or-semaphore-deadlock', () => {
  test('names the call in the using code and the line where the holder took it', () => {
    const verdict = classify(hang(waitOf()))
    expect(verdict).toMatchObject({
      class: 'lock-or-semaphore-deadlock',
      confidence: 'certain',
      culprit: { path: FILE, line: 28 },
      holder: { path: FILE, line: 26 },
    })
    expect(verdict.diagnosis).toContain(
      '`await to.lock()` (test/bank.test.ts:28:3) in transfer() for its turn in Lock.lock(): it is held by another transfer() that took it at test/bank.test.ts:26:3',
    )
    expect(verdict.stack.map(({ site }) => site.line)).toEqual([10, 28, 38])
  })

  test('is likely where the loss was not proven, and where the holder only went away', () => {
    const lost = { proven: false, created: [], awaited: [] }
    expect(classify(hang(waitOf(), { lost })).confidence).toBe('likely')
    const left = waitOf({ holders: [{ taken: TAKEN, missing: 2, by: 'left' }] })
    const verdict = classify(hang(left))
    expect(verdict.confidence).toBe('likely')
    expect(verdict.diagnosis).toContain('has not been given back (2 times)')
  })

  test('is held at the very line that waits: by callers that wait there once more, or by an earlier call that kept it', () => {
    const again = classify(hang(waitOf({ holders: [{ taken: CALL, missing: 2, by: 'flow' }] })))
    expect(again.class).toBe('lock-or-semaphore-deadlock')
    expect(again.holder?.line).toBe(CALL.site.line)
    expect(again.diagnosis).toContain('every place is taken by callers that got it at the same line')
    const kept = classify(hang(waitOf({ holders: [{ taken: CALL, missing: 2, by: 'left' }] })))
    expect(kept.holder?.line).toBe(CALL.site.line)
    expect(kept.diagnosis).toMatch(/by an earlier call of .* has not been given back \(2 times\)/)
    expect(kept.diagnosis).not.toContain('cycle')
  })

  test('is told by the wait that the heap of the hung run knows', () => {
    const other = waitOf({ inner: [], call: frame('other', `${FILE}:50:3`, 'await x.lock()') })
    const awaits = [suspended(1, CALL, { owner: OWNER, heldBy: [heldBy('Lock', 'Lock.waiting[0]')] })]
    const facts = hang(other, { awaits, lost: null, locks: { waits: [other, waitOf()], others: [] } })
    expect(classify(facts).culprit?.line).toBe(28)
  })

  test('is not named when the run again stood somewhere else', () => {
    const awaits = [
      suspended(1, frame('read', `${FILE}:70:3`, 'await read()'), { heldBy: [heldBy('Timeout', 'Timeout')] }),
    ]
    expect(classify(hang(waitOf(), { awaits, lost: null })).class).toBe('await-never-settles-with-live-resource')
  })

  test('is not named when its holder waits for something that is no lock', () => {
    const work = (line: number, source: string) => frame('work', `${FILE}:${line}:3`, source)
    const awaits = [
      suspended(1, work(62, "await once(socket, 'data')"), { heldBy: [heldBy('Socket', 'Socket._events.data')] }),
      suspended(2, work(60, 'await lock.lock()'), { heldBy: [heldBy('Lock', 'Lock.waiting[0]')] }),
    ]
    const call = work(60, 'await lock.lock()')
    const wait = waitOf({ call, inner: [], holders: [{ taken: call, missing: 1, by: 'left' }] })
    const verdict = classify(hang(wait, { awaits, lost: null }))
    expect(verdict.class).toBe('await-never-settles-with-live-resource')
    expect(verdict.culprit?.line).toBe(62)
  })

  test('is not named of a blocked thread or while a file loads', () => {
    expect(classify(hang(waitOf(), { loop: 'blocked' })).class).not.toBe('lock-or-semaphore-deadlock')
    expect(classify(hang(waitOf(), { phase: 'collect' })).class).not.toBe('lock-or-semaphore-deadlock')
  })
})

describe('a resolver in a collection', () => {
  const awaits = [
    suspended(1, frame('<anonymous>', `${FILE}:20:11`, 'await channel.receive()'), {
      heldBy: [heldBy('Channel', 'Channel.waiting[0]')],
    }),
  ]
  const traced = { proven: false, created: [], awaited: [], note: 'traced again' }

  test('is a lost promise when it was traced, is no lock, and nothing is open', () => {
    const facts = factsOf({ awaits, lost: traced, resources: { PipeWrap: 3 } })
    expect(classify(facts)).toMatchObject({ class: 'lost-promise', culprit: { line: 20 } })
  })

  test('may still be settled while something is open, or for all we know without a trace', () => {
    const open = factsOf({ awaits, lost: traced, resources: { PipeWrap: 3, TCPSocketWrap: 1 } })
    expect(classify(open).class).toBe('await-never-settles-with-live-resource')
    const untraced = factsOf({ awaits, lost: null, resources: { PipeWrap: 3 } })
    expect(classify(untraced).class).toBe('await-never-settles-with-live-resource')
  })
})
