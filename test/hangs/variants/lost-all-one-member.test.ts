// expect: {"id":"lost-all-one-member","class":"lost-promise","test":"loads three parts","culprit":"lost-all-one-member.test.ts:15","accept":["lost-all-one-member.test.ts:6"],"holder":"lost-all-one-member.test.ts:6","kind":"hang","mustMention":["all","load"]}
// Promise.all of three loads, one of which has a branch that forgets to settle.
import { expect, test } from 'vitest'

function load(name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    setTimeout(() => {
      if (name.length > 5) reject(new Error(name))
      else if (name !== 'b') resolve(name)
    }, 5)
  })
}

test('loads three parts', async () => {
  const parts = await Promise.all(['a', 'b', 'c'].map(load))
  expect(parts).toEqual(['a', 'b', 'c'])
})
