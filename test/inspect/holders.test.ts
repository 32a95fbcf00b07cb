/** Who holds what an await waits for: shapes between a promise and what can settle it. */
import { EventEmitter, once } from 'node:events'
import { mock } from 'node:test'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { SuspendedFunction } from '../../src/inspect/facts.ts'
import { dumpSuspendedHere } from '../../src/inspect/look-at-heap.ts'

let suspended: SuspendedFunction[] = []
const ending: (() => void)[] = []
const kept: unknown[] = []

/** A promise that a repeating timer may settle. */
function polled(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => kept.length === 0 && resolve(), 10_000)
    ending.push(() => clearInterval(timer))
  })
}

async function deferredByListener(emitter: EventEmitter): Promise<void> {
  const done = Promise.withResolvers<void>()
  emitter.on('done', () => done.resolve())
  await done.promise
}

async function farAway(): Promise<void> {
  const one = async (): Promise<void> => polled()
  await Promise.race([
    once(new EventEmitter(), 'never'),
    Promise.all([
      one()
        .then(() => one())
        .finally(() => {}),
    ]),
  ])
}

async function nodeClock(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 100))
}

async function ownClock(): Promise<void> {
  await new Promise<void>((resolve) => void setTimeout(() => resolve(), 100))
}

async function realClock(): Promise<void> {
  await polled()
}

async function woken(cells: Int32Array): Promise<void> {
  const waiting = Atomics.waitAsync(cells, 0, 0)
  await waiting.value
}

async function members(): Promise<void> {
  await Promise.all([Promise.resolve(), polled(), 1, polled()])
}

let wake: () => void = () => {}
let never: () => void = () => {}

/** A timer calls it by its name and keeps no reference to it. */
async function named(): Promise<void> {
  const timer = setInterval(() => kept.length === 0 && look(), 10_000)
  ending.push(() => clearInterval(timer))
  await new Promise<void>((resolve) => {
    wake = resolve
  })
}

function look(): void {
  wake()
}

async function unnamed(): Promise<void> {
  await new Promise<void>((resolve) => {
    never = resolve
  })
}

/** Timers by hand: they stand in a list that the object has. */
class ManualClock {
  readonly #due: (() => void)[] = []
  setTimeout = (run: () => void): number => this.#due.push(run)
}

beforeAll(async () => {
  const keep = (promise: Promise<void>): void => void kept.push(promise)
  const emitter = new EventEmitter()
  kept.push(emitter)
  keep(deferredByListener(emitter))
  keep(farAway())
  keep(realClock())
  keep(members())
  keep(named())
  keep(unnamed())
  keep(woken(new Int32Array(new SharedArrayBuffer(4))))
  mock.timers.enable({ apis: ['setTimeout'] })
  keep(nodeClock())
  const real = globalThis.setTimeout
  globalThis.setTimeout = new ManualClock().setTimeout as never
  keep(ownClock())
  // What follows a promise does so some jobs later.
  await new Promise(setImmediate)
  try {
    suspended = dumpSuspendedHere({ isUser: (url) => url.includes('holders.test') }).suspended
  } finally {
    globalThis.setTimeout = real
    mock.timers.reset()
  }
})

afterAll(() => {
  for (const end of ending) end()
})

function find(fn: string): SuspendedFunction {
  const found = suspended.find((one) => one.fn === fn)
  expect(found, fn).toBeDefined()
  return found!
}

test('a deferred that a listener settles is held by the emitter, with the event', () => {
  expect(find('deferredByListener').heldBy[0]).toMatchObject({ owner: 'EventEmitter', event: 'done' })
})

test('a timer is found through any number of promises and combinators', () => {
  expect(find('farAway').heldBy.map(({ owner }) => owner)).toContain('Timeout')
})

test('a timer of node:test and one of a clock of the program’s own are told from real ones', () => {
  expect(find('nodeClock').heldBy[0]).toMatchObject({ fakeClock: true })
  expect(find('ownClock').heldBy[0]).toMatchObject({ owner: 'ManualClock', fakeClock: true })
  const [real] = find('realClock').heldBy
  expect(real?.owner).toBe('Timeout')
  expect(real?.fakeClock).toBeUndefined()
})

test('a cell that is waited for without blocking is named', () => {
  expect(find('woken').heldBy).toMatchObject([{ owner: 'Atomics.waitAsync' }])
})

test('of a combinator the pending members are known by their place', () => {
  expect(find('members').members).toEqual({ of: 'all', pending: [1, 3] })
  expect(find('realClock').members).toBeUndefined()
})

test('a variable is driven by a timer whose code, or a function that it names, leads to it', () => {
  expect(find('named').heldBy.map(({ owner }) => owner)).toEqual(['variable', 'Timeout'])
  expect(find('unnamed').heldBy.map(({ owner }) => owner)).toEqual(['variable'])
  expect(never).toBeTypeOf('function')
  // The timer of `polled` names the list that the emitter stands in, and not the emitter.
  expect(find('deferredByListener').heldBy.map(({ owner }) => owner)).toEqual(['EventEmitter'])
})
