/** When a zygote forks a child ahead. */
import { expect, test } from 'vitest'
import { Spares } from '../../src/spawn/zygote/spares.ts'
import { type ForkCalls, loadForkCalls } from '../../src/spawn/zygote/syscalls.ts'

const calls = loadForkCalls()

test.skipIf('missing' in calls)('one that is not quiet is asked again, and forked when it is, once', async () => {
  const asked: boolean[] = []
  const forked = Promise.withResolvers<void>()
  const spares = new Spares(
    {
      calls: calls as ForkCalls,
      isQuiet() {
        asked.push(asked.length === 2)
        return asked.at(-1)!
      },
      fork() {
        forked.resolve()
        // The kernel has refused: there is nobody to be ended.
        return -1
      },
    },
    false,
  )
  // What waits must not keep a zygote alive, and this process is to stay.
  const alive = setInterval(() => {}, 1000)
  spares.refill()
  spares.refill()
  await forked.promise
  clearInterval(alive)
  expect(asked).toEqual([false, false, true])
  expect(spares.pid).toBeUndefined()
  spares.end()
  spares.refill()
  expect(asked.length).toBe(3)
})
