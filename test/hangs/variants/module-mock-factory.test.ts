// expect: {"id":"module-mock-factory","class":"module-loading-deadlock","test":null,"phase":"collect","culprit":"module-mock-factory.test.ts:7","kind":"hang","mustMention":["mock"]}
// The factory of a mock never gives its module.
import { expect, test, vi } from 'vitest'
import { join } from 'node:path'

vi.mock('node:path', async () => {
  await new Promise(() => {})
  return { join: () => 'x' }
})

test('joins', () => expect(join('a')).toBe('x'))
