// expect: {"id":"lost-hook-beforeeach-callback","class":"lost-promise","test":"uses the fixture","hook":"beforeEach","culprit":"lost-hook-beforeeach-callback.test.ts:15","kind":"hang","mustMention":["beforeEach"]}
// beforeEach waits for a set-up whose callback has an error branch without an end.
import { beforeEach, expect, test } from 'vitest'

function setUp(name: string, done: (error: Error | null, value?: string) => void): void {
  setImmediate(() => {
    if (name === '') return
    done(null, `fixture ${name}`)
  })
}

let fixture = ''

beforeEach(async (context) => {
  fixture = await new Promise<string>((resolve, reject) => {
    setUp(context.task.meta ? '' : 'x', (error, value) => (error ? reject(error) : resolve(value!)))
  })
})

test('uses the fixture', () => {
  expect(fixture).toContain('fixture')
})
