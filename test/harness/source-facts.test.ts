import { expect, test } from 'vitest'
import { SourceFacts } from '../../harness/source-facts.ts'
import type { AwaitFrame } from '../../src/dump/facts.ts'
import { frame, heldBy, suspended } from '../dump/sample-facts.ts'

const FILE = 'test/a.test.ts'
const OWNER = 'harrow:test:1'

function sources(text: string): SourceFacts {
  return new SourceFacts((path) => (path === FILE ? text : null))
}

const LOCKS = `async function refresh(): Promise<string> {
  return await locks.request('t', async () => 'new')
}
async function call(): Promise<string> {
  return await locks.request('t', async () => {
    if (old) await refresh()
    return token
  })
}
async function other(): Promise<void> { await sleep(1) }
`

function at(id: number, fn: string, place: string, defined: [number, number], rest: Partial<AwaitFrame>): AwaitFrame {
  const definedAt = { path: FILE, line: defined[0], column: defined[1] }
  return suspended(id, frame(fn, `${FILE}:${place}`), { definedAt, ...rest })
}

test('a suspended callback of an awaited call belongs to the one who awaits it, with what it waits for', () => {
  const awaits = [
    at(1, 'call', '5:10', [4, 1], { owner: OWNER, heldBy: [heldBy('Lock', 'Lock')] }),
    at(2, '<anonymous>', '6:14', [5, 35], { owner: null }),
    at(3, 'refresh', '2:10', [1, 1], { owner: null, awaitedBy: [2] }),
    at(4, 'other', '10:40', [10, 1], { owner: null }),
  ]
  const linked = sources(LOCKS).linkCallbacks(awaits)
  expect(linked.map(({ id, owner, awaitedBy }) => [id, owner, awaitedBy])).toEqual([
    [1, OWNER, []],
    [2, OWNER, [1]],
    [3, OWNER, [2]],
    [4, null, []],
  ])
})

test('nothing is linked without the text, behind another await, or to one that waits for the user’s code already', () => {
  const waiter = at(1, 'call', '5:10', [4, 1], { owner: OWNER })
  const callback = at(2, '<anonymous>', '6:14', [5, 35], { owner: null })
  expect(new SourceFacts(() => null).linkCallbacks([waiter, callback])[1]?.owner).toBeNull()
  const elsewhere = at(1, 'other', '10:40', [10, 1], { owner: OWNER })
  expect(sources(LOCKS).linkCallbacks([elsewhere, callback])[1]?.owner).toBeNull()
  const below = at(5, 'refresh', '2:10', [1, 1], { owner: OWNER, awaitedBy: [1] })
  expect(sources(LOCKS).linkCallbacks([waiter, callback, below])[1]?.owner).toBeNull()
})

test('lines that replace the timers are found, those that put them back and comments are not', () => {
  const lines = [
    "mock.timers.enable({ apis: ['setTimeout'] })",
    'vi.useFakeTimers()',
    'const clock = FakeTimers.install()',
    'globalThis.setTimeout = ((run) => due.push(run)) as never',
    "vi.stubGlobal('setTimeout', clock.setTimeout)",
    'globalThis.setTimeout = realSetTimeout',
    '// vi.useFakeTimers() would hang here',
    'if (globalThis.setTimeout === real) return',
    'vi.useRealTimers()',
  ]
  const found = sources(lines.join('\n')).clockCalls([FILE, 'missing.ts', FILE])
  expect(found.map(({ site }) => site.line)).toEqual([1, 2, 3, 4, 5])
})

test('the line that asks for the next turn is looked for around the line that was found', () => {
  const text = `async function settle(done: () => boolean): Promise<void> {
  while (!done()) {
    count++
    await null
  }
}
function tick(queue: number[]): void {
  if (queue.length === 0) return
  queue.pop()
  process.nextTick(tick, queue)
}
function busy(): void {
  while (true) count++
}`
  const turn = (place: string, source: string) => sources(text).nextTurn(frame('f', `${FILE}:${place}`, source))
  expect(turn('3:5', 'count++')?.site.line).toBe(4)
  expect(turn('2:10', 'while (!done()) {')?.site.line).toBe(4)
  expect(turn('8:7', 'if (queue.length === 0) return')).toMatchObject({
    site: { line: 10 },
    source: 'process.nextTick(tick, queue)',
  })
  expect(turn('4:5', 'await null')).toBeUndefined()
  expect(turn('13:3', 'while (true) count++')).toBeUndefined()
})
