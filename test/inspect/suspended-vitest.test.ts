import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AsyncFacts } from '../../src/inspect/facts.ts'
import { ownedBy, program, runNode } from './programs.ts'

interface Report {
  facts: AsyncFacts
  chain: string[]
}

const folder = mkdtempSync(join(tmpdir(), 'harrow-suspended-'))
let report: Report

beforeAll(async () => {
  const dump = join(folder, 'dump.json')
  const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
  const run = await runNode([vitest, 'run'], {
    cwd: dirname(program('vitest-hang/vitest.config.ts')),
    env: { HARROW_TEST_DUMP: dump, VITEST: undefined, VITEST_POOL_ID: undefined, VITEST_WORKER_ID: undefined },
  })
  expect(run.code, run.stdout + run.stderr).toBe(0)
  report = JSON.parse(readFileSync(dump, 'utf8'))
}, 70_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('the chain of awaiters crosses the wrappers of vitest from the test body to the run', () => {
  const { chain } = report
  expect(chain[0]).toBe('plainBody')
  for (const name of ['runTest', 'runSuite', 'startTests']) expect(chain).toContain(name)
})

test('only the functions of the test files are listed, each with its await', () => {
  const { suspended } = report.facts
  expect(suspended.map((frame) => frame.fn).sort()).toEqual([
    '',
    'fakeTimer',
    'plainBody',
    'readReply',
    'readReply',
    'readReply',
  ])
  expect(suspended.every((frame) => frame.user && frame.at !== null)).toBe(true)
})

test('what an earlier test has left belongs to nobody, what a marked test waits for belongs to it', () => {
  const marked = ownedBy(report.facts, 'harrow:marked')
  expect(marked.map((frame) => frame.fn).sort()).toEqual(['', 'readReply'])
  const orphans = report.facts.suspended.filter((frame) => frame.owner === null && frame.awaitedBy.length === 0)
  expect(orphans.map((frame) => frame.fn).sort()).toEqual(['fakeTimer', 'plainBody', 'readReply'])
})

test('variables of a module in the block that vite makes of it keep their names', () => {
  const held = report.facts.suspended.filter((frame) => frame.fn === 'readReply').flatMap((frame) => frame.heldBy)
  const paths = held.map(({ path }) => path).sort()
  expect(paths).toEqual(['variable waiting[0]', 'variable waiting[1]', 'variable waiting[2]'])
})

test('a timer of a fake clock is told from a real one', () => {
  const [held] = report.facts.suspended.find((frame) => frame.fn === 'fakeTimer')?.heldBy ?? []
  expect(held).toMatchObject({ owner: 'FakeClock', fakeClock: true })
})

test('the locals are those of the function alone', () => {
  const body = report.facts.suspended.find((frame) => frame.fn === '')
  expect(Object.keys(body?.locals ?? {})).toEqual(['file', 'release'])
})
