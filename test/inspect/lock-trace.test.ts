import { setImmediate } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { startCallCounts } from '../../src/inspect/call-counts.ts'
import type { LockFacts } from '../../src/inspect/lock-trace.ts'
import { startPromiseTrace } from '../../src/inspect/promise-trace.ts'

const isUser = (url: string): boolean => url.includes('fixtures/locks')

const counts = startCallCounts(isUser)
// Only what is loaded after the counting began is counted.
const fixture = await import('./fixtures/locks.ts')
const others = await import('./fixtures/locks-of-others.ts')
/** What hangs stays reachable: it is to be looked at, not to be collected. */
const kept: unknown[] = []

afterAll(() => counts.stop())

async function look(body: () => Promise<void>): Promise<LockFacts> {
  const trace = startPromiseTrace({ isUser })
  try {
    const running = body()
    kept.push(running)
    trace.watchBody(running)
    // Promise jobs only: after a turn of the loop everything stands where it hangs.
    for (let turn = 0; turn < 3; turn++) await setImmediate()
    return trace.locks(counts)
  } finally {
    trace.stop()
  }
}

/** By function names: positions are those of the code that runs. */
function brief(facts: LockFacts) {
  return facts.waits.map(({ lock, method, style, call, holders }) => ({
    lock: `${lock}.${method}`,
    style,
    call: call.fn,
    taken: holders.map(({ taken, by, missing }) => `${taken.fn} ${by} ${missing}`),
  }))
}

test('two functions that take two locks in opposite order wait for each other', async () => {
  const facts = await look(fixture.abba)
  expect(brief(facts)).toEqual(
    [1, 2].map(() => ({ lock: 'Lock.lock', style: 'queue', call: 'move', taken: ['move waits 2'] })),
  )
  expect(facts.waits[0]?.call.at?.line).toBe((facts.waits[0]?.holders[0]?.taken.at?.line ?? 0) + 2)
})

test('a mutex that is taken again by who has it is a cycle of one flow', async () => {
  expect(brief(await look(fixture.again))).toEqual([
    { lock: 'Mutex.acquire', style: 'chain', call: 'again', taken: ['again flow 1'] },
  ])
})

test('of those who took from a pool, the one that gave nothing back is the holder', async () => {
  expect(brief(await look(fixture.exhausted))).toEqual([
    { lock: 'Pool.connect', style: 'queue', call: 'exhausted', taken: ['leaky left 2'] },
  ])
})

test('a limiter whose task waits for another task of it is a cycle', async () => {
  const facts = await look(fixture.nested)
  expect(facts.waits).toHaveLength(1)
  const [wait] = facts.waits
  expect(wait?.method).toBe('limit')
  expect(wait?.holders[0]).toMatchObject({ by: 'flow', taken: { fn: 'nested' } })
  expect(wait?.holders[0]?.taken.at?.line).toBeLessThan(wait?.call.at?.line ?? 0)
})

test('a limiter that lost its place to an error was last taken by who failed', async () => {
  const facts = await look(fixture.failed)
  expect(facts.waits).toHaveLength(1)
  const [wait] = facts.waits
  expect(wait?.holders[0]).toMatchObject({ by: 'left', taken: { fn: 'failed' } })
  expect(wait?.holders[0]?.taken.at?.line).toBeLessThan(wait?.call.at?.line ?? 0)
})

test('a queue that is merely empty and a result that never comes are no locks', async () => {
  expect((await look(fixture.empty)).waits).toEqual([])
  const facts = await look(fixture.loading)
  expect(facts.waits).toEqual([])
  expect(facts.others.map(({ fn }) => fn)).toEqual(['get'])
})

test('a lock of a package that an earlier call of the same function kept', async () => {
  const facts = await look(others.kept)
  expect(brief(facts)).toEqual([{ lock: 'leaky.acquire', style: 'queue', call: 'open', taken: ['open left 1'] }])
})

test('a lock of a package that the function which it runs asks for again', async () => {
  const facts = await look(others.around)
  expect(brief(facts)).toEqual([{ lock: 'nested.run', style: 'queue', call: 'inner', taken: ['around flow 1'] }])
})

test('a function of the user’s that only passes the lock of a package on is a part of it', async () => {
  const [wait] = (await look(others.wrapped)).waits
  expect(wait?.method).toBe('withTurn')
  expect(wait?.holders[0]).toMatchObject({ by: 'flow', taken: { fn: 'wrapped' } })
  expect(wait?.holders[0]?.taken.at?.line).toBeLessThan(wait?.call.at?.line ?? 0)
})

test('a call into a package that once got an answer and then none is no lock', async () => {
  const facts = await look(others.silent)
  expect(facts.waits).toEqual([])
  expect(facts.others.map(({ fn }) => fn)).toEqual(['silent'])
})

test('two locks of a package in opposite order are held by one another', async () => {
  const facts = await look(others.crossed)
  expect(facts.waits).toHaveLength(2)
  for (const { holders } of facts.waits) expect(holders[0]?.taken.fn).toBe('crossing')
})

test('a turn that waits for a promise which a later turn of it follows is a cycle of one flow', async () => {
  expect(brief(await look(fixture.appended))).toEqual([
    { lock: '.serial', style: 'chain', call: '', taken: ['append flow 1'] },
  ])
})

test('a ring of calls that nobody awaits one by one is found below the promise that combines them', async () => {
  const facts = await look(others.ring)
  expect(brief(facts)).toEqual([{ lock: 'seats.run', style: 'queue', call: '', taken: ['dine waits 1'] }])
  expect(facts.waits[0]).toMatchObject({ deep: true, outer: [{ fn: 'ring' }] })
})

test('a limiter is held by a task that its caller has given up', async () => {
  const facts = await look(others.loser)
  expect(brief(facts)).toEqual([{ lock: 'gate.run', style: 'queue', call: 'loser', taken: ['charge left 1'] }])
})

test('a limiter that an executor asked is waited for by who awaits its promise', async () => {
  const facts = await look(others.executor)
  expect(brief(facts)).toEqual([{ lock: 'door.run', style: 'queue', call: 'executor', taken: ['executor left 1'] }])
})

test('a limiter whose only task never ends is no lock that somebody waits for', async () => {
  expect((await look(others.alone)).waits).toEqual([])
})
