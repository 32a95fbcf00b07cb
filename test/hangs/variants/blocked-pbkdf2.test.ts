// expect: {"id":"blocked-pbkdf2","class":"event-loop-blocked","test":"derives a key","culprit":"blocked-pbkdf2.test.ts:7","accept":["blocked-pbkdf2.test.ts:11"],"kind":"hang","mustMention":["pbkdf2"]}
// A key is derived with far too many rounds, in native code where no JavaScript runs that could be stopped.
import { pbkdf2Sync } from 'node:crypto'
import { expect, test } from 'vitest'

function keyOf(password: string, rounds: number): Buffer {
  return pbkdf2Sync(password, 'salt', rounds, 32, 'sha512')
}

test('derives a key', () => {
  expect(keyOf('correct horse', 120_000_000)).toHaveLength(32)
})
