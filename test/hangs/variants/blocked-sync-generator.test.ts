// expect: {"id":"blocked-sync-generator","class":"event-loop-blocked","test":"drains a generator","culprit":"blocked-sync-generator.test.ts:14","accept":["blocked-sync-generator.test.ts:9","blocked-sync-generator.test.ts:15","blocked-sync-generator.test.ts:16","blocked-sync-generator.test.ts:22"],"kind":"hang","mustMention":["for"]}
// A generator that never returns, drained synchronously by a helper.
import { expect, test } from 'vitest'

const guard = performance.now() + 100_000

function* ids(): Generator<number> {
  let id = 0
  while (performance.now() < guard) yield id++
}

function last(numbers: Iterable<number>, want: (n: number) => boolean): number {
  let found = -1
  for (const n of numbers) {
    found = n
    if (want(n)) break
  }
  return found
}

test('drains a generator', () => {
  expect(last(ids(), (n) => n < 0)).toBe(7)
})
