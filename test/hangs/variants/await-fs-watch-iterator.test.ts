// expect: {"id":"await-fs-watch-iterator","class":"await-never-settles-with-live-resource","test":"sees a rename","culprit":"await-fs-watch-iterator.test.ts:10","accept":["await-fs-watch-iterator.test.ts:19"],"kind":"hang","mustMention":["watch"]}
// An async iterator over a folder; the file is renamed in the folder above.
import { mkdirSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs'
import { watch } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

async function firstChange(dir: string): Promise<string | null> {
  for await (const event of watch(dir)) return event.filename
  return null
}

test('sees a rename', async () => {
  const root = mkdtempSync(join(tmpdir(), 'corpus-watch-it-'))
  mkdirSync(join(root, 'in'))
  writeFileSync(join(root, 'a'), 'x')
  setTimeout(() => renameSync(join(root, 'a'), join(root, 'b')), 40)
  expect(await firstChange(join(root, 'in'))).toBe('b')
})
