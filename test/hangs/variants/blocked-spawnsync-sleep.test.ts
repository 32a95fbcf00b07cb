// expect: {"id":"blocked-spawnsync-sleep","class":"event-loop-blocked","test":"waits for a lock file","culprit":"blocked-spawnsync-sleep.test.ts:13","accept":["blocked-spawnsync-sleep.test.ts:21"],"kind":"hang","mustMention":["spawnSync"]}
// A synchronous child waits for a file that a timer of this thread would write.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

class LockFile {
  readonly path = join(mkdtempSync(join(tmpdir(), 'corpus-lockfile-')), 'ready')
  await(): number | null {
    const script = 'i=0; while [ ! -e "$1" ] && [ $i -lt 900 ]; do i=$((i+1)); sleep 0.1; done'
    const { status } = spawnSync('sh', ['-c', script, 'sh', this.path], { timeout: 100_000 })
    return status
  }
}

test('waits for a lock file', () => {
  const lock = new LockFile()
  setTimeout(() => writeFileSync(lock.path, ''), 50)
  expect(lock.await()).toBe(0)
})
