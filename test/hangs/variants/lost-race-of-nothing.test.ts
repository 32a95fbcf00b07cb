// expect: {"id":"lost-race-of-nothing","class":"lost-promise","test":"takes the first mirror","culprit":"lost-race-of-nothing.test.ts:9","accept":["lost-race-of-nothing.test.ts:13"],"kind":"hang","mustMention":["race"]}
// The list of mirrors is empty, and a race of nothing never ends.
import { expect, test } from 'vitest'

const mirrors: string[] = ['http://mirror.invalid']

async function fastest(hosts: string[]): Promise<string> {
  const local = hosts.filter((host) => host.includes('localhost'))
  return await Promise.race(local.map(async (host) => host))
}

test('takes the first mirror', async () => {
  expect(await fastest(mirrors)).toContain('mirror')
})
