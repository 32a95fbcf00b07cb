// expect: {"id":"lost-thenable","class":"lost-promise","test":"awaits a query builder","culprit":"lost-thenable.test.ts:19","kind":"hang","mustMention":["query"]}
// A thenable whose then() drops its callbacks once it has run.
import { expect, test } from 'vitest'

class Query {
  private done = false
  constructor(readonly sql: string) {}
  // biome-ignore lint/suspicious/noThenProperty: query builders are like that
  then(resolve: (rows: string[]) => void): void {
    if (this.done) return
    this.done = true
    setTimeout(() => resolve([this.sql]), 1)
  }
}

test('awaits a query builder', async () => {
  const query = new Query('select 1')
  expect(await (query as unknown as Promise<string[]>)).toEqual(['select 1'])
  const again = await (query as unknown as Promise<string[]>)
  expect(again).toEqual(['select 1'])
})
