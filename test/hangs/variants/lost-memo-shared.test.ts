// expect: {"id":"lost-memo-shared","class":"lost-promise","test":"loads the same key twice","kind":"hang","mustMention":["fetchRow"],"culprit":"lost-memo-shared.test.ts:24","accept":["lost-memo-shared.test.ts:8","lost-memo-shared.test.ts:21","lost-memo-shared.test.ts:29","lost-memo-shared.test.ts:36"]}
// A memo of promises; the one load never settles and two callers wait for it.
import { expect, test } from 'vitest'

const rows = new Map<string, string>([['a', '1']])

function fetchRow(key: string): Promise<string> {
  return new Promise((resolve) => {
    setImmediate(() => {
      const row = rows.get(key)
      if (row !== undefined) resolve(row)
    })
  })
}

class Memo {
  readonly #known = new Map<string, Promise<string>>()
  async get(key: string): Promise<string> {
    let known = this.#known.get(key)
    if (known === undefined) {
      known = fetchRow(key)
      this.#known.set(key, known)
    }
    return await known
  }
}

async function show(memo: Memo, key: string): Promise<string> {
  const row = await memo.get(key)
  return `<${row}>`
}

test('loads the same key twice', async () => {
  const memo = new Memo()
  expect(await show(memo, 'a')).toBe('<1>')
  expect(await Promise.all([show(memo, 'b'), show(memo, 'b')])).toHaveLength(2)
})
