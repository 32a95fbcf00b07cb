// expect: {"id":"lock-async-sema-missing-release","class":"lock-or-semaphore-deadlock","test":"scans the second folder","culprit":"lock-async-sema-missing-release.test.ts:11","accept":["lock-async-sema-missing-release.test.ts:20"],"holder":"lock-async-sema-missing-release.test.ts:11","kind":"hang","mustMention":["acquire"]}
// async-sema: `continue` skips the release.
import { Sema } from 'async-sema'
import { expect, test } from 'vitest'

const sema = new Sema(1)

async function scan(folders: string[]): Promise<string[]> {
  const found: string[] = []
  for (const folder of folders) {
    await sema.acquire()
    if (folder.startsWith('.')) continue
    found.push(folder)
    sema.release()
  }
  return found
}

test('scans the second folder', async () => {
  expect(await scan(['.git', 'src'])).toEqual(['src'])
})
