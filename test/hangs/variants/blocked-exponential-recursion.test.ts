// expect: {"id":"blocked-exponential-recursion","class":"event-loop-blocked","test":"counts paths in a grid","culprit":"blocked-exponential-recursion.test.ts:9","accept":["blocked-exponential-recursion.test.ts:14"],"kind":"hang","mustMention":["paths"]}
// Recursion without memory over a grid that is a little too large.
import { expect, test } from 'vitest'

const guard = performance.now() + 100_000

const paths = (width: number, height: number): number => {
  if (width === 0 || height === 0 || performance.now() > guard) return 1
  return paths(width - 1, height) + paths(width, height - 1)
}

test('counts paths in a grid', async () => {
  await Promise.resolve()
  const n = paths(19, 19)
  expect(n).toBeGreaterThan(0)
})
