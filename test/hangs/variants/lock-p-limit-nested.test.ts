// expect: {"id":"lock-p-limit-nested","class":"lock-or-semaphore-deadlock","test":"resolves a dependency tree","culprit":"lock-p-limit-nested.test.ts:10","accept":["lock-p-limit-nested.test.ts:15"],"holder":"lock-p-limit-nested.test.ts:15","kind":"hang","mustMention":["limit"]}
// p-limit: a limited task waits for another task of the same limit.
import pLimit from 'p-limit'
import { expect, test } from 'vitest'

const limit = pLimit(1)
const needs: Record<string, string[]> = { app: ['lib'], lib: [] }

const build = async (name: string): Promise<string> => {
  const parts = await Promise.all((needs[name] ?? []).map((one) => limit(() => build(one))))
  return [name, ...parts].join('+')
}

test('resolves a dependency tree', async () => {
  const built = await limit(() => build('app'))
  expect(built).toBe('app+lib')
})
