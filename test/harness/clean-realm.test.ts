import fs from 'node:fs'
import { expect, test } from 'vitest'
import { CleanRealm } from '../../harness/worker/clean-realm.ts'

const all = globalThis as unknown as Record<string, unknown>
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

test('what user code has replaced is there during an act, and replaced as before after it', () => {
  const realm = new CleanRealm()
  const whole = works()
  expect(Object.values(whole)).not.toContain(false)
  const { process: ownProcess, Buffer: ownBuffer, URL: ownUrl } = all
  const disk = fs.readFileSync
  const { parse } = JSON
  const { map, [Symbol.iterator]: iterator } = Array.prototype
  const { exec } = RegExp.prototype
  let during: Record<string, boolean> = {}
  let after: Record<string, boolean> = {}
  let returned: unknown
  let thrown: unknown
  try {
    fs.readFileSync = broken as never
    Object.defineProperty(all, 'process', { value: undefined, writable: true, configurable: true, enumerable: true })
    all.Buffer = undefined
    all.URL = broken
    JSON.parse = broken
    Array.prototype.map = broken
    Array.prototype[Symbol.iterator] = broken
    RegExp.prototype.exec = broken
    Object.assign(Object.prototype, { extra: 1 })
    returned = realm.within(() => {
      during = works()
      return 'done'
    })
    after = works()
    try {
      realm.within(() => {
        throw new Error('of the act')
      })
    } catch (error) {
      thrown = error
    }
  } finally {
    fs.readFileSync = disk
    Object.defineProperty(all, 'process', { value: ownProcess, writable: true, configurable: true, enumerable: false })
    all.Buffer = ownBuffer
    all.URL = ownUrl
    JSON.parse = parse
    Array.prototype.map = map
    Array.prototype[Symbol.iterator] = iterator
    RegExp.prototype.exec = exec
    delete (Object.prototype as { extra?: unknown }).extra
  }
  expect(during).toEqual(whole)
  expect(Object.values(after)).not.toContain(true)
  expect(returned).toBe('done')
  expect(String(thrown)).toBe('Error: of the act')
  expect(works()).toEqual(whole)
})

test('what is frozen stays as it is', () => {
  const realm = new CleanRealm()
  const before = Object.getOwnPropertyNames(JSON)
  Object.freeze(JSON)
  expect(realm.within(() => JSON.stringify({ a: 1 }))).toBe('{"a":1}')
  expect(Object.getOwnPropertyNames(JSON)).toEqual(before)
})
