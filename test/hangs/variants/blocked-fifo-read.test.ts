// expect: {"id":"blocked-fifo-read","class":"event-loop-blocked","test":"reads the answer pipe","culprit":"blocked-fifo-read.test.ts:17","accept":["blocked-fifo-read.test.ts:22"],"kind":"hang","mustMention":["readFileSync"]}
// A synchronous read of a FIFO that nobody writes to.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

class AnswerPipe {
  readonly path = join(mkdtempSync(join(tmpdir(), 'corpus-fifo-')), 'answer')
  constructor() {
    execFileSync('mkfifo', [this.path])
    // Bounds the corpus: a late writer.
    spawn('sh', ['-c', `sleep 90; echo late > ${this.path}`], { stdio: 'ignore' }).unref()
  }
  read(): string {
    return readFileSync(this.path, 'utf8')
  }
}

test('reads the answer pipe', () => {
  expect(new AnswerPipe().read()).toBe('late\n')
})
