// expect: {"id":"await-async-poll","class":"await-never-settles-with-live-resource","test":"sees the file appear","culprit":"await-async-poll.test.ts:19","accept":["await-async-poll.test.ts:17","await-async-poll.test.ts:19","await-async-poll.test.ts:27"],"kind":"hang","mustMention":["exists"]}
// An async polling loop; the file is written under another name.
import { mkdtempSync, writeFileSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'

const exists = (path: string): Promise<boolean> => access(path).then(
  () => true,
  () => false,
)

async function appears(path: string): Promise<number> {
  let rounds = 0
  while (!(await exists(path))) {
    rounds++
    await pause(15)
  }
  return rounds
}

test('sees the file appear', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'corpus-poll-'))
  writeFileSync(join(dir, 'out.JSON'), '{}')
  expect(await appears(join(dir, 'out.json'))).toBeGreaterThanOrEqual(0)
})
