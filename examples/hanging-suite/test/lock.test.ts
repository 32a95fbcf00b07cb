import { expect, test } from 'vitest'
import { Lock } from '../src/lock.ts'

test('lets callers in one after the other', async () => {
  const lock = new Lock()
  const order: string[] = []
  const visit = async (name: string) => {
    const release = await lock.acquire()
    order.push(`${name} in`)
    await Promise.resolve()
    order.push(`${name} out`)
    release()
  }
  await Promise.all([visit('a'), visit('b'), visit('c')])
  expect(order).toEqual(['a in', 'a out', 'b in', 'b out', 'c in', 'c out'])
})
