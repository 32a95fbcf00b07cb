// expect: {"id":"lock-behind-slow-setup","class":"lock-or-semaphore-deadlock","test":"moves between two shelves","culprit":"lock-behind-slow-setup.test.ts:25","accept":["lock-behind-slow-setup.test.ts:12","lock-behind-slow-setup.test.ts:34"],"holder":"lock-behind-slow-setup.test.ts:23","kind":"hang","mustMention":["reach"]}
// A lock in a ring, behind a hook that takes longer than the limit of the test.
import { beforeAll, expect, test } from 'vitest'

const shelves = ['a', 'b'].map((name) => ({ name, taken: false, queue: [] as Array<() => void> }))

type Shelf = (typeof shelves)[number]

async function reach(shelf: Shelf): Promise<void> {
  if (shelf.taken) {
    // Whoever lets go wakes the next one up.
    await new Promise<void>((resolve) => shelf.queue.push(resolve))
  }
  shelf.taken = true
}

function leave(shelf: Shelf): void {
  shelf.taken = false
  shelf.queue.shift()?.()
}

async function move(from: Shelf, to: Shelf): Promise<void> {
  await reach(from)
  await new Promise((resolve) => setTimeout(resolve, 5))
  await reach(to)
  leave(to)
  leave(from)
}

beforeAll(() => new Promise<void>((resolve) => setTimeout(resolve, 2600)), 30_000)

test('moves between two shelves', async () => {
  const [a, b] = shelves as [Shelf, Shelf]
  await Promise.all([move(a, b), move(b, a)])
  expect(shelves.every(({ taken }) => !taken)).toBe(true)
})
