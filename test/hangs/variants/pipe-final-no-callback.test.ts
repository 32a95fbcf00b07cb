// expect: {"id":"pipe-final-no-callback","class":"pipe-or-backpressure-deadlock","test":"closes the archive","kind":"hang","mustMention":["pipeline"],"culprit":"pipe-final-no-callback.test.ts:27","accept":["pipe-final-no-callback.test.ts:18","pipe-final-no-callback.test.ts:33"]}
// A Writable whose final() forgets its callback when nothing is left to flush.
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect, test } from 'vitest'

class Archive extends Writable {
  readonly blocks: string[] = []
  #rest = ''
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#rest += chunk.toString()
    while (this.#rest.length >= 4) {
      this.blocks.push(this.#rest.slice(0, 4))
      this.#rest = this.#rest.slice(4)
    }
    done()
  }
  override _final(done: () => void): void {
    if (this.#rest === '') return
    this.blocks.push(this.#rest)
    done()
  }
}

async function pack(text: string): Promise<string[]> {
  const archive = new Archive()
  await pipeline(Readable.from([Buffer.from(text)]), archive)
  return archive.blocks
}

test('closes the archive', async () => {
  expect(await pack('abcdef')).toEqual(['abcd', 'ef'])
  expect(await pack('abcdefgh')).toEqual(['abcd', 'efgh'])
})
