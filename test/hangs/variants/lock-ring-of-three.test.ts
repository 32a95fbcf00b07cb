// expect: {"id":"lock-ring-of-three","class":"lock-or-semaphore-deadlock","test":"feeds three philosophers","culprit":"lock-ring-of-three.test.ts:32","accept":["lock-ring-of-three.test.ts:16","lock-ring-of-three.test.ts:39"],"holder":"lock-ring-of-three.test.ts:30","kind":"hang","mustMention":["fork"]}
// Three tasks take three locks in a ring; closures only, no class.
import { expect, test } from 'vitest'

interface Fork {
  owner: string | null
  hungry: Array<() => void>
}

const forks: Fork[] = [0, 1, 2].map(() => ({ owner: null, hungry: [] }))

async function grab(fork: Fork, who: string): Promise<void> {
  if (fork.owner !== null) {
    const { promise, resolve } = Promise.withResolvers<void>()
    fork.hungry.push(resolve)
    await promise
  }
  fork.owner = who
}

function drop(fork: Fork): void {
  fork.owner = null
  fork.hungry.shift()?.()
}

async function philosopher(seat: number): Promise<string> {
  const name = `p${seat}`
  const left = forks[seat]!
  const right = forks[(seat + 1) % forks.length]!
  await grab(left, name)
  await new Promise((resolve) => setTimeout(resolve, 5))
  await grab(right, name)
  drop(right)
  drop(left)
  return name
}

test('feeds three philosophers', async () => {
  const fed = await Promise.allSettled([0, 1, 2].map(philosopher))
  expect(fed).toHaveLength(3)
})
