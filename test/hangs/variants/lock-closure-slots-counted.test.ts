// expect: {"id":"lock-closure-slots-counted","class":"lock-or-semaphore-deadlock","test":"renders four tiles","culprit":"lock-closure-slots-counted.test.ts:40","accept":["lock-closure-slots-counted.test.ts:17","lock-closure-slots-counted.test.ts:50"],"holder":"lock-closure-slots-counted.test.ts:40","kind":"hang","mustMention":["slot"]}
// Slots of a closure over a linked list; a tile that is already cached keeps its slot.
import { expect, test } from 'vitest'

type Waiter = { wake: () => void; after: Waiter | null }

const slots = (() => {
  let free = 2
  let head: Waiter | null = null
  let last: Waiter | null = null
  return {
    async slot(): Promise<void> {
      if (free > 0) {
        free--
        return
      }
      return new Promise((wake) => {
        const mine: Waiter = { wake, after: null }
        if (last) last.after = mine
        else head = mine
        last = mine
      })
    },
    back(): void {
      if (head === null) {
        free++
        return
      }
      const first: Waiter = head
      head = first.after
      if (head === null) last = null
      first.wake()
    },
  }
})()

const cached = new Set(['t1', 't2'])

async function tile(name: string): Promise<string> {
  await slots.slot()
  if (cached.has(name)) return `${name} from cache`
  await Promise.resolve()
  slots.back()
  return name
}

test('renders four tiles', async () => {
  const names = ['t1', 't2', 't3']
  const tiles: string[] = []
  for (const name of names) tiles.push(await tile(name))
  expect(tiles).toHaveLength(3)
})
