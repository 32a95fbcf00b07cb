// expect: {"id":"lock-callback-style-pool","class":"lock-or-semaphore-deadlock","test":"exports three sheets","culprit":"lock-callback-style-pool.test.ts:37","accept":["lock-callback-style-pool.test.ts:47"],"holder":"lock-callback-style-pool.test.ts:37","kind":"hang","mustMention":["borrow"]}
// A pool in callback style behind a promise; an empty sheet never gives its slot back.
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

interface Slot {
  key: string
}
type Taker = (error: Error | null, slot: Slot) => void

const free: Slot[] = [{ key: 's1' }]
const wanted: Taker[] = []
const inUse = new Map<string, Slot>()

function borrow(name: string, taker: Taker): void {
  const slot = free.pop()
  if (slot === undefined) {
    wanted.push(taker)
    return
  }
  inUse.set(name, slot)
  taker(null, slot)
}

function giveBack(name: string): void {
  const slot = inUse.get(name)
  if (slot === undefined) return
  inUse.delete(name)
  const first = wanted.shift()
  if (first) first(null, slot)
  else free.push(slot)
}

const borrowed = promisify(borrow)

async function sheet(name: string): Promise<string> {
  const slot = await borrowed(name)
  if (name === '') return 'nothing'
  const text = `${name} by ${slot.key}`
  giveBack(name)
  return text
}

test('exports three sheets', async () => {
  expect(await sheet('a')).toBe('a by s1')
  expect(await sheet('')).toBe('nothing')
  expect(await sheet('c')).toBe('c by s1')
})
