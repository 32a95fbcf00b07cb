import { describe, expect, test } from 'vitest'
import type { AsyncFacts } from '../../src/inspect/facts.ts'
import type { HeapLimits } from '../../src/inspect/heap-limits.ts'
import { dumpSuspendedHere, smallObjectBytes } from '../../src/inspect/look-at-heap.ts'

const queue: (() => void)[] = []
async function waiting(): Promise<void> {
  const local = 'kept'
  await new Promise<void>((resolve) => queue.push(resolve))
  queue.push(() => local)
}
const pending = waiting()

function found(facts: AsyncFacts): object | undefined {
  const one = facts.suspended.find(({ fn }) => fn === 'waiting')
  return one && { at: one.at !== null, held: one.heldBy.length > 0, locals: one.locals !== undefined }
}

/** One test a step; the sizes stand in for large heaps, whose speed is measured in test/bench. */
const STEPS: [string, HeapLimits, object, RegExp | null][] = [
  ['a small heap', { surelyMb: 4096 }, { at: true, held: true, locals: true }, null],
  [
    'a middling heap whose snapshot is affordable',
    { surelyMb: 0, snapshotMb: 4096, snapshotMs: 600_000 },
    { at: true, held: true, locals: true },
    null,
  ],
  [
    'a middling heap whose snapshot would take too long',
    { surelyMb: 0, snapshotMb: 4096, snapshotMs: 0 },
    { at: true, held: false, locals: false },
    /^step 2 of 3: .*it would take about \d+ s, the limit is 0 s/,
  ],
  [
    'a large heap',
    { surelyMb: 0, snapshotMb: 0 },
    { at: true, held: false, locals: false },
    /^step 2 of 3: .*\d+ MB of objects/,
  ],
]

describe('a look at the own thread', () => {
  test.each(STEPS)('of %s', (_name, limits, expected, note) => {
    const facts = dumpSuspendedHere({ limits, isUser: (url) => url.includes('look-at-heap') })
    expect(found(facts)).toEqual(expected)
    expect(facts.nodes > 0).toBe(note === null)
    if (note === null) expect(facts.notes.join()).not.toContain('step')
    else expect(facts.notes[0]).toMatch(note)
    expect(pending).toBeInstanceOf(Promise)
  })

  test('of a heap that is too large for any walk is refused with the reason', () => {
    expect(() => dumpSuspendedHere({ limits: { surelyMb: 0, snapshotMb: 0, stacksMb: 1 } })).toThrow(
      /step 3 of 3: the heap was not looked at: it has \d+ MB of objects, and above 1 MB/,
    )
  })

  test('counts what V8 walks, not large arrays', () => {
    const before = smallObjectBytes()
    const large = new Array(8_000_000).fill(1)
    expect(smallObjectBytes() - before).toBeLessThan(16 * 1024 * 1024)
    expect(large).toHaveLength(8_000_000)
  })
})
