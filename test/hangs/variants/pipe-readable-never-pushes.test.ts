// expect: {"id":"pipe-readable-never-pushes","class":"pipe-or-backpressure-deadlock","test":"joins the parts","culprit":"pipe-readable-never-pushes.test.ts:23","kind":"hang","mustMention":["pipeline"]}
// A readable that is done and does not push null; pipeline waits for its end.
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect, test } from 'vitest'

class Parts extends Readable {
  #left = ['a', 'b']
  override _read(): void {
    const part = this.#left.shift()
    if (part !== undefined) this.push(part)
  }
}

test('joins the parts', async () => {
  let joined = ''
  const sink = new Writable({
    write(chunk, _encoding, done) {
      joined += chunk
      done()
    },
  })
  await pipeline(new Parts(), sink)
  expect(joined).toBe('ab')
})
