import { stripVTControlCharacters } from 'node:util'
import pc from 'picocolors'
import { describe, expect, test } from 'vitest'
import { buildRecord } from '../../src/dump/build-record.ts'
import { classify } from '../../src/dump/classify.ts'
import type { HangFacts } from '../../src/dump/facts.ts'
import { type HangBlockInput, hangBlockOf, renderHangBlock } from '../../src/dump/render.ts'
import { reproduceCommand } from '../../src/dump/reproduce.ts'
import { SERVER_CLOSE, TOP_LEVEL_AWAIT } from './sample-facts.ts'

const blockOf = (facts: HangFacts, dump?: string): HangBlockInput =>
  hangBlockOf(buildRecord(facts, classify(facts)), dump)

describe('the block of a hang', () => {
  test('says who hangs, where, why, and how to see more', () => {
    expect(renderHangBlock(blockOf(SERVER_CLOSE(), '.harrow/dumps/a--b--4812.1.txt'))).toMatchInlineSnapshot(`
      " HANG  test/await-server-close-open-socket.test.ts > shuts the TCP server down          waited 5.0 s
         await new Promise<void>((resolve) => server.close(() => resolve()))        test/await-server-close-open-socket.test.ts:13:3
         test "shuts the TCP server down" waits at
         \`await new Promise<void>((resolve) => server.close(() => resolve()))\`
         (test/await-server-close-open-socket.test.ts:13:3): it waits in Server._events.close, and a
         server reports 'close' only when its last open connection (socket) has ended, and one is still
         open.
         hint: end the clients and responses first, or call server.closeAllConnections() or
         socket.destroy()
         class await-never-settles-with-live-resource (likely) · dump .harrow/dumps/a--b--4812.1.txt
         again: npx vitest run test/await-server-close-open-socket.test.ts -t "shuts the TCP server down""
    `)
  })

  test('names the phase where there is no test', () => {
    expect(renderHangBlock(blockOf(TOP_LEVEL_AWAIT())).split('\n')[0]).toMatch(
      /^ HANG {2}test\/module-toplevel-await\.test\.ts \(collect\) +waited 60\.0 s$/,
    )
  })

  test('has no colour unless colours are given', () => {
    const input = blockOf(SERVER_CLOSE())
    const plain = renderHangBlock(input)
    const coloured = renderHangBlock({ ...input, colors: pc.createColors(true) })
    expect(plain).not.toContain('\u001b')
    expect(coloured).toContain('\u001b')
    expect(stripVTControlCharacters(coloured)).toBe(plain)
  })

  test('wraps sentences to the width and never cuts a path', () => {
    const path = `test/${'deep/'.repeat(30)}stock.test.ts`
    const input = {
      ...blockOf(SERVER_CLOSE(), `${path}.txt`),
      file: path,
      culprit: { path, line: 41, column: 14 },
      columns: 60,
    }
    const text = renderHangBlock(input)
    expect(text).toContain(`${path}:41:14`)
    expect(text).toContain(`dump ${path}.txt`)
    for (const line of text.split('\n')) {
      if (line.length > 60) expect(line).toMatch(/\/|`|again:/)
    }
  })

  test('says why there is no dump', () => {
    const text = renderHangBlock({
      ...blockOf(SERVER_CLOSE()),
      dumpError: 'could not write the dump: the disk is full (ENOSPC)',
    })
    expect(text).toContain('the disk is full')
    expect(text).not.toContain('· dump')
  })

  test('escapes control characters of titles', () => {
    expect(renderHangBlock({ ...blockOf(SERVER_CLOSE()), test: ['a\u001b[31m\nb'] })).not.toContain('\u001b')
  })
})

describe('the command that runs a test again', () => {
  test.each([
    [['reserves stock'], 'npx vitest run test/a.test.ts -t "reserves stock"'],
    [['stock', 'reserves'], 'npx vitest run test/a.test.ts -t "stock > reserves"'],
    [['costs $5 (now)'], "npx vitest run test/a.test.ts -t 'costs \\$5 \\(now\\)'"],
    [['it\'s "x"'], `npx vitest run test/a.test.ts -t 'it'\\''s "x"'`],
    [null, 'npx vitest run test/a.test.ts'],
  ])('%j', (titles, command) => {
    expect(reproduceCommand('test/a.test.ts', titles)).toBe(command)
  })

  test('quotes a file name with spaces', () => {
    expect(reproduceCommand('my tests/a.test.ts', null)).toBe('npx vitest run "my tests/a.test.ts"')
  })
})
