// expect: {"id":"lost-fixture-of-plain-test","class":"lost-promise","test":"uses a database","culprit":"lost-fixture-of-plain-test.test.ts:8","kind":"hang","mustMention":["waiting"]}
// A fixture waits for ever below a test that is not async.
import { expect, test as base } from 'vitest'

const waiting: Array<(v: string) => void> = []
const test = base.extend<{ db: string }>({
  db: async ({}, use) => {
    const url = await new Promise<string>((r) => waiting.push(r))
    await use(url)
  },
})
test('uses a database', ({ db }) => {
  expect(db).toBe('x')
})
