// expect: {"id":"leak-promises-watch","class":"leaked-handle-after-tests","test":"counts the changes","culprit":"leak-promises-watch.test.ts:12","accept":["leak-promises-watch.test.ts:19"],"kind":"leak","mustMention":[]}
// The iterator of fs.promises.watch runs in the background and has no signal.
import { mkdtempSync, writeFileSync } from 'node:fs'
import { watch } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'

class Changes {
  readonly names: string[] = []
  async follow(dir: string): Promise<void> {
    for await (const { filename } of watch(dir)) this.names.push(String(filename))
  }
}

test('counts the changes', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'h2-changes-'))
  const changes = new Changes()
  void changes.follow(dir)
  await new Promise((resolve) => setTimeout(resolve, 50))
  writeFileSync(join(dir, 'a'), '')
  await vi.waitFor(() => expect(changes.names).toContain('a'))
})
