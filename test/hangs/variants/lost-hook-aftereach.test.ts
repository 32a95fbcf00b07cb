// expect: {"id":"lost-hook-aftereach","class":"lost-promise","test":"writes a line","hook":"afterEach","culprit":"lost-hook-aftereach.test.ts:24","kind":"hang","mustMention":["afterEach"]}
// The teardown waits for a flush that the closed logger does not report any more.
import { EventEmitter, once } from 'node:events'
import { afterEach, expect, test } from 'vitest'

class Logger extends EventEmitter {
  lines: string[] = []
  closed = false
  write(line: string): void {
    this.lines.push(line)
  }
  close(): void {
    this.closed = true
    this.emit('flushed')
  }
}

let logger: Logger | undefined

afterEach(async () => {
  const closing = logger!
  logger = undefined
  closing.close()
  await once(closing, 'flushed')
})

test('writes a line', () => {
  logger = new Logger()
  logger.write('x')
  expect(logger.lines).toEqual(['x'])
})
