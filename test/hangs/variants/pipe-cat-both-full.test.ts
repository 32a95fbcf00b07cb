// expect: {"id":"pipe-cat-both-full","class":"pipe-or-backpressure-deadlock","test":"sends a megabyte through cat","culprit":"pipe-cat-both-full.test.ts:14","accept":["pipe-cat-both-full.test.ts:20"],"holder":"pipe-cat-both-full.test.ts:11","kind":"hang","mustMention":["stdin"]}
// Everything is written first and read afterwards: cat stops when its output pipe is full.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'

class Filter {
  readonly child
  constructor(command: string) {
    this.child = spawn(command, { stdio: ['pipe', 'pipe', 'inherit'], timeout: 90_000 })
  }
  async feed(chunk: Buffer): Promise<void> {
    if (!this.child.stdin.write(chunk)) await once(this.child.stdin, 'drain')
  }
}

test('sends a megabyte through cat', async () => {
  const cat = new Filter('cat')
  for (let i = 0; i < 16; i++) await cat.feed(Buffer.alloc(64 * 1024, 97))
  cat.child.stdin.end()
  expect((await text(cat.child.stdout)).length).toBe(1024 * 1024)
})
