// expect: {"id":"module-three-in-a-ring","class":"module-loading-deadlock","test":"loads a plugin tree","culprit":"module-three-in-a-ring.test.ts:22","kind":"hang","mustMention":["import"]}
// Three modules in a ring, one of them by a dynamic import that is awaited at the top level.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'

function write(dir: string, name: string, text: string): string {
  const path = join(dir, `${name}.mjs`)
  writeFileSync(path, text)
  return pathToFileURL(path).href
}

test('loads a plugin tree', async () => {
  const dir = join(mkdtempSync(join(tmpdir(), 'corpus-ring-')), 'node_modules', 'ring')
  mkdirSync(dir, { recursive: true })
  const a = write(dir, 'a', `export { b } from './b.mjs'\n`)
  write(dir, 'b', `const { c } = await import('./c.mjs')\nexport const b = 'b' + c\n`)
  write(dir, 'c', `import { b } from './a.mjs'\nexport const c = typeof b\n`)
  const loading = import(/* @vite-ignore */ a)
  const mod = await loading
  expect(mod.b).toBe('bundefined')
})
