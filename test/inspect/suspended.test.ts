import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { beforeAll, describe, expect, test } from 'vitest'
import type { AsyncFacts, SuspendedFunction } from '../../src/inspect/facts.ts'
import { chainOf, ownedBy, program, runNode } from './programs.ts'

const path = program('suspends.ts')
const source = readFileSync(path, 'utf8').split('\n')
let facts: AsyncFacts

function owned(name: string): SuspendedFunction[] {
  return ownedBy(facts, `harrow:${name}`)
}

/** The function of an owner for which nobody else of the owner's functions has to end first. */
function leaf(name: string): SuspendedFunction {
  const frames = owned(name)
  const waited = new Set(frames.flatMap((frame) => frame.awaitedBy))
  const found = frames.filter((frame) => !waited.has(frame.id) || frame.heldBy.length > 0)
  expect(
    found.map((frame) => frame.fn),
    `leaf of ${name}`,
  ).toHaveLength(1)
  return found[0]!
}

function textAt(frame: SuspendedFunction): string | undefined {
  return frame.at ? source[frame.at.line - 1]?.trim() : undefined
}

beforeAll(async () => {
  const run = await runNode([path], { env: { MAX_RESOLVE: '6' } })
  expect(run.stderr).toBe('')
  facts = JSON.parse(run.stdout)
}, 60_000)

describe('a lock that is taken twice', () => {
  test('shows both functions with the line of the await, the wanted owner first', () => {
    const [first, second] = facts.suspended
    expect([first, second].map((frame) => frame?.owner)).toEqual(['harrow:lockTwice', 'harrow:lockTwice'])
    expect(owned('lockTwice').map(textAt).sort()).toEqual([
      'await lock.acquire()',
      'if (this.locked) await new Promise<void>((resolve) => this.waiting.push(resolve))',
    ])
  })

  test('names the place in the queue of the lock', () => {
    expect(leaf('lockTwice')).toMatchObject({ fn: 'acquire', heldBy: [{ owner: 'Lock', path: 'Lock.waiting[0]' }] })
  })

  test('shows the locals of nested blocks, redacted and rendered without running anything', () => {
    const outer = owned('lockTwice').find((frame) => frame.fn === 'lockTwice')
    expect(outer?.locals).toEqual({
      inner: '1',
      name: '"… \\"A\\""',
      order: '{id: 7, lines: Array(2)}',
      lock: expect.stringContaining('Lock {waiting: Array(1), locked: true'),
    })
  })
})

describe('the await graph', () => {
  test.each([
    ['timer', ['pause', 'timer']],
    ['race', ['pause', 'race']],
    ['any', ['pause', 'any']],
    ['settled', ['pause', 'settled']],
    ['chain', ['pause', 'chain']],
    ['resolvedWith', ['pause', 'resolvedWith']],
    ['wrapped', ['pause', 'wrapped']],
    ['deferred', ['pause', 'deferred']],
    ['iterator', ['pause', 'letters', 'readAll', 'iterator']],
    ['delegated', ['pause', 'letters', 'relayed', 'readAll', 'delegated']],
  ])('leads from the timer up to %s', (name, chain) => {
    expect(chainOf(facts, leaf(name))).toEqual(chain)
  })

  test('joins the members of Promise.all in their common awaiter', () => {
    const members = owned('members').filter((frame) => frame.fn === 'pause')
    expect(members.map((frame) => chainOf(facts, frame))).toEqual([
      ['pause', 'members'],
      ['pause', 'members'],
    ])
  })

  test('keeps two owners apart that wait in the same function at the same time', () => {
    expect(owned('left').map((frame) => frame.fn)).toEqual(['pause'])
    expect(owned('right').map((frame) => frame.fn)).toEqual(['pause'])
    expect(leaf('left').id).not.toBe(leaf('right').id)
  })

  test('leads through a module that import() waits for', () => {
    const body = owned('imported').find((frame) => frame.script.startsWith('data:'))
    expect(body).toMatchObject({ heldBy: [{ owner: 'globalThis', path: 'globalThis.finishImport' }] })
    expect(chainOf(facts, body!).at(-1)).toBe('imported')
  })
})

describe('who holds what is awaited', () => {
  test.each([
    ['timer', 'Timeout', 'Timeout._onTimeout', undefined],
    ['bareTimer', 'Timeout', 'Timeout._onTimeout', undefined],
    ['event', 'Widget', 'Widget._events.ready', 'ready'],
    ['listener', 'Widget', 'Widget._events.done', 'done'],
    ['request', 'fetch', 'fetch', undefined],
    ['message', 'Worker', 'Worker._events.message', 'message'],
    ['childExit', 'ChildProcess', expect.stringMatching(/^ChildProcess\._events\.exit/), 'exit'],
    ['serverClose', 'Server', 'Server._events.close', 'close'],
    ['abort', 'AbortSignal', expect.stringContaining('AbortSignal[kEvents].get("abort")'), 'abort'],
    ['queued', 'variable', 'variable queue[0]', undefined],
    ['mapped', 'variable', 'variable requests.get("req-7").resolve', undefined],
  ])('%s: %s', (name, owner, heldPath, event) => {
    const [held] = leaf(name).heldBy
    expect(held).toMatchObject({ owner, path: heldPath })
    expect(held?.event).toBe(event)
  })

  test('is told for a test that is no async function, under the name of its marker', () => {
    expect(owned('bare')).toMatchObject([
      { fn: 'harrowOwner', user: false, heldBy: [{ owner: 'Widget', path: 'Widget._events.bare', event: 'bare' }] },
    ])
  })
})

describe('a promise whose resolve function a suspended function has in its hands', () => {
  test('leads to that function, and to what it waits for in turn', () => {
    expect(leaf('jobInJob')).toMatchObject({ fn: '', heldBy: [{ owner: 'Jobs', path: 'Jobs.waiting[0].done' }] })
    expect(textAt(leaf('jobInJob'))).toBe('await jobs.add(async () => 1)')
    const work = owned('jobInJob').find((frame) => frame.fn === 'work')
    const outer = owned('jobInJob').find((frame) => frame.fn === 'jobInJob')
    expect(leaf('jobInJob').awaitedBy).toEqual([work?.id])
    expect(work?.awaitedBy).toEqual([outer?.id])
  })

  test('also where the promise carries it, and what waits is no async function', () => {
    expect(owned('fixture').filter((frame) => frame.user)).toMatchObject([
      { fn: 'fills', heldBy: [{ owner: 'variable', path: expect.stringMatching(/^variable queue\[\d\]$/) }] },
    ])
  })
})

test('a promise that nothing can settle leaves no function behind', () => {
  expect(owned('lost')).toEqual([])
  expect(owned('ownLock')).toEqual([])
})

test('every function has its line, and only the first few their locals', () => {
  const user = facts.suspended.filter((frame) => frame.user)
  expect(user.filter((frame) => frame.at === null)).toEqual([])
  expect(user.length).toBeGreaterThan(40)
  expect(facts.suspended.filter((frame) => frame.locals)).toHaveLength(6)
  expect(facts.notes).toEqual([])
})

test('every function says where it is defined', () => {
  const pause = facts.suspended.find((frame) => frame.fn === 'pause')
  expect(source[(pause?.definedAt?.line ?? 0) - 1]).toContain('async function pause()')
})

test('a worker thread dumps itself the same way', async () => {
  const worker = new Worker(path, { env: { ...process.env, MAX_RESOLVE: '2' }, stderr: true })
  try {
    const [own]: [AsyncFacts] = (await once(worker, 'message')) as [AsyncFacts]
    const frame = ownedBy(own, 'harrow:lockTwice').find((one) => one.fn === 'acquire')
    expect(frame).toMatchObject({ heldBy: [{ path: 'Lock.waiting[0]' }], at: { line: expect.any(Number) } })
  } finally {
    await worker.terminate()
  }
}, 60_000)
