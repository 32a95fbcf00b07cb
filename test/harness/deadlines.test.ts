import { describe, expect, test } from 'vitest'
import { findOverdue, type Limits, SILENCE_MS, unresponsive } from '../../harness/pool/deadlines.ts'
import { starvationOf } from '../../harness/pool/starvation.ts'
import type { WorkerState } from '../../harness/protocol.ts'

const limits: Limits = {
  grace: 1000,
  blocked: 10_000,
  collect: 60_000,
  start: 50_000,
  stop: 10_000,
  teardown: 5000,
  untimed: 300_000,
}
const T0 = 1_700_000_000_000

function state(over: Partial<WorkerState>): WorkerState {
  return {
    seq: 1,
    at: T0,
    phase: 'between',
    file: '/f',
    suite: null,
    hook: null,
    running: [],
    sections: [],
    crumb: null,
    ...over,
  }
}
const clock = (ms: number, silentMs = 0) => ({ now: T0 + ms, silentMs, stageSince: T0 })
const body = { test: 't', hook: null, start: T0, timeout: 2000 }

describe('deadlines', () => {
  test('a bounded section is overdue after its own limit and the grace, not before', () => {
    const running = state({ phase: 'test', sections: [body] })
    expect(findOverdue('run', running, clock(2999, 2000), limits)).toBeUndefined()
    expect(findOverdue('run', running, clock(3001, 2000), limits)).toMatchObject({
      loop: 'blocked',
      limitMs: 2000,
      section: body,
    })
  })

  test('says idle while the worker answers', () => {
    expect(
      findOverdue('run', state({ phase: 'test', sections: [body] }), clock(3001, SILENCE_MS - 1), limits)?.loop,
    ).toBe('idle')
  })

  test('a long limit of a hook is respected also when the loop is blocked', () => {
    const hook = { test: null, hook: 'beforeAll', start: T0, timeout: 120_000 }
    expect(
      findOverdue('run', state({ phase: 'hook', sections: [hook] }), clock(100_000, 99_000), limits),
    ).toBeUndefined()
  })

  test('a blocked loop outside any bounded section has the limit "blocked"', () => {
    const untimed = state({ phase: 'test' })
    expect(findOverdue('run', untimed, clock(9000, 9000), limits)).toBeUndefined()
    expect(findOverdue('run', untimed, clock(10_500, 10_500), limits)).toMatchObject({
      loop: 'blocked',
      limitMs: 10_000,
    })
  })

  test('an idle test without a limit has the limit "untimed"', () => {
    const untimed = state({ phase: 'test', sections: [{ ...body, timeout: 0 }] })
    expect(findOverdue('run', untimed, clock(299_000), limits)).toBeUndefined()
    expect(findOverdue('run', untimed, clock(301_000), limits)?.limitMs).toBe(300_000)
  })

  test('collection has its own limit, blocked or not', () => {
    const collecting = state({ phase: 'collect' })
    expect(findOverdue('run', collecting, clock(59_000, 59_000), limits)).toBeUndefined()
    expect(findOverdue('run', collecting, clock(60_001), limits)).toMatchObject({ loop: 'idle', limitMs: 60_000 })
  })

  test('a runner that the tracker does not know is left alone while it answers', () => {
    expect(findOverdue('run', state({ phase: 'start' }), clock(900_000), limits)).toBeUndefined()
  })

  test('fixture teardown has its own limit', () => {
    expect(findOverdue('run', state({ phase: 'teardown' }), clock(5900), limits)).toBeUndefined()
    expect(findOverdue('run', state({ phase: 'teardown' }), clock(6100), limits)?.limitMs).toBe(5000)
  })

  test('a worker without a state yet is bounded as a collection', () => {
    expect(findOverdue('run', undefined, clock(60_001, 60_001), limits)?.loop).toBe('blocked')
  })

  test('start and stop are bounded', () => {
    expect(findOverdue('start', undefined, clock(49_000), limits)).toBeUndefined()
    expect(findOverdue('start', undefined, clock(50_001), limits)?.limitMs).toBe(50_000)
    expect(findOverdue('stop', undefined, clock(11_001), limits)?.limitMs).toBe(10_000)
  })
})

test('of an interrupted run, only a worker that is silent is not waited for', () => {
  const running = state({ phase: 'test', sections: [body] })
  expect(unresponsive('run', running, clock(900, SILENCE_MS - 1))).toBeUndefined()
  expect(unresponsive('run', running, clock(900, SILENCE_MS))).toEqual({
    loop: 'blocked',
    section: body,
    limitMs: 2000,
    waitedMs: 900,
  })
  expect(unresponsive('run', state({ phase: 'dump' }), clock(900, 900))).toBeUndefined()
})

test('limits are stretched by what a process has waited for a CPU', () => {
  expect(['1000 0 7', '1000 2000 7', '1 999999 7', '0 0 0', 'nonsense'].map(starvationOf)).toEqual([1, 3, 8, 1, 1])
})
