// expect: {"id":"module-inner-toplevel","class":"module-loading-deadlock","test":"loads the driver","culprit":"module-inner-toplevel.test.ts:11","accept":["module-inner-toplevel.test.ts:18"],"kind":"hang","mustMention":["import"]}
// A module loaded on demand has a top-level await on a promise that nothing settles.
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'

async function driver(dir: string, name: string): Promise<string> {
  const url = pathToFileURL(join(dir, `${name}.mjs`)).href
  const loaded = await import(/* @vite-ignore */ url)
  return loaded.default
}

test('loads the driver', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'corpus-tla-'))
  writeFileSync(join(dir, 'slow.mjs'), `await new Promise(() => {})\nexport default 'slow'\n`)
  expect(await driver(dir, 'slow')).toBe('slow')
})
