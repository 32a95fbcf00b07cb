import fs from 'node:fs'
import { expect, test } from 'vitest'
import { CleanRealm } from '../../harness/worker/clean-realm.ts'

const broken = (): never => {
  throw new Error('not to be called')
}

/** What the look at a worker needs, each as it is now; made of what no test here replaces. */
function works(): Record<string, boolean> {
  const is = (act: () => unknown): boolean => {
    try {
      return Boolean(act())
    } catch {
      return false
    }
  }
  return {
    disk: is(() => fs.readFileSync('/proc/self/stat').length),
    process: is(() => process.pid),
    buffer: is(() => Buffer.from('a').length),
    url: is(() => new URL('file:///a').pathname),
    json: is(() => JSON.parse('1')),
    map: is(() => [1].map((n) => n)[0]),
    iterator: is(() => [...[1]][0]),
    pattern: is(() => /a/.exec('a')),
    nothingAdded: is(() => !('extra' in {}) && !('extra' in [])),
  }
}

interface Stub {
  object: object
  key: PropertyKey
  value: unknown
}

/** Loops without iterators, which are among what is replaced. */
function stub(stubs: readonly Stub[]): () => void {
  const before: (PropertyDescriptor | undefined)[] = []
  for (let i = 0; i < stubs.length; i++) {
    const { object, key, value } = stubs[i] as Stub
    before[i] = Object.getOwnPropertyDescriptor(object, key)
    Object.defineProperty(object, key, { value, writable: true, configurable: true, enumerable: true })
  }
  return () => {
    for (let i = 0; i < stubs.length; i++) {
      const { object, key } = stubs[i] as Stub
      const was = before[i]
      if (was) Reflect.defineProperty(object, key, was)
      else Reflect.deleteProperty(object, key)
    }
  }
}

test('what user code has replaced is there during an act, and replaced as before after it', () => {
  const realm = new CleanRealm()
  const whole = works()
  expect(Object.values(whole)).not.toContain(false)
  const { Buffer: ownBuffer } = globalThis
  const seen: { during?: unknown; after?: Record<string, boolean>; returned?: unknown; thrown?: unknown } = {}
  const undo = stub([
    { object: fs, key: 'readFileSync', value: broken },
    { object: globalThis, key: 'process', value: undefined },
    { object: globalThis, key: 'URL', value: broken },
    { object: JSON, key: 'parse', value: broken },
    { object: Array.prototype, key: 'map', value: broken },
    { object: Array.prototype, key: Symbol.iterator, value: broken },
    { object: RegExp.prototype, key: 'exec', value: broken },
    { object: Object.prototype, key: 'extra', value: 1 },
  ])
  // Assigned, not defined: Node's accessor keeps it.
  Object.assign(globalThis, { Buffer: undefined })
  try {
    seen.returned = realm.within(() => {
      seen.during = works()
      return 'done'
    })
    seen.after = works()
    try {
      realm.within(() => {
        throw new Error('of the act')
      })
    } catch (error) {
      seen.thrown = error
    }
  } finally {
    globalThis.Buffer = ownBuffer
    undo()
  }
  expect(seen.during).toEqual(whole)
  expect(Object.values(seen.after ?? whole)).not.toContain(true)
  expect(seen.returned).toBe('done')
  expect(String(seen.thrown)).toBe('Error: of the act')
  expect(works()).toEqual(whole)
})

test('what cannot be put back stays as it is, and costs nothing else', () => {
  const realm = new CleanRealm()
  const buffer = Object.getOwnPropertyDescriptor(globalThis, 'Buffer') as PropertyDescriptor
  const undo = stub([
    { object: Math, key: 'hypot', value: broken },
    { object: JSON, key: 'parse', value: broken },
  ])
  Object.freeze(Math)
  Object.defineProperty(globalThis, 'Buffer', { value: undefined, writable: false })
  let during: unknown[] = []
  let after: unknown[] = []
  const state = (): unknown[] => [JSON.parse === broken, typeof Buffer, Math.hypot === broken]
  try {
    during = realm.within(state)
    after = state()
  } finally {
    Object.defineProperty(globalThis, 'Buffer', buffer)
    undo()
  }
  expect(during).toEqual([false, 'undefined', true])
  expect(after).toEqual([true, 'undefined', true])
})
