// expect: {"id":"pipe-transform-no-callback","class":"pipe-or-backpressure-deadlock","test":"parses all lines","culprit":"pipe-transform-no-callback.test.ts:25","kind":"hang","mustMention":["pipeline"]}
// A transform that skips empty lines and forgets its callback for them.
import { Readable, Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect, test } from 'vitest'

const skipEmpty = (): Transform =>
  new Transform({
    objectMode: true,
    transform(line: string, _encoding, callback) {
      if (line === '') return
      callback(null, line.trim())
    },
  })

test('parses all lines', async () => {
  const lines: string[] = []
  const sink = new Writable({
    objectMode: true,
    write(line: string, _encoding, callback) {
      lines.push(line)
      callback()
    },
  })
  await pipeline(Readable.from(['a ', '', 'b ']), skipEmpty(), sink)
  expect(lines).toEqual(['a', 'b'])
})
