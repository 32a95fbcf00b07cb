import { exec, execFile, execFileSync, execSync, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type SpawnNote, watchSpawns } from '../../src/inspect/spawn-watch.ts'

const MARK = 'HARROW_TEST_MARK'
const print = `process.stdout.write(String(process.env.${MARK}))`
const notes: SpawnNote[] = []
let stop: () => void

beforeEach(() => {
  process.env[MARK] = 'run.1'
  notes.length = 0
  stop = watchSpawns({ mark: { name: MARK, value: 'run.1' }, started: (note) => notes.push(note) })
})
afterEach(() => {
  stop()
  delete process.env[MARK]
})

const here = (note: SpawnNote | undefined): string | undefined =>
  note?.created.find((frame) => frame.at?.url.includes('spawn-watch.test'))?.fn

describe('a start of a process is noted with its line and marks the child', () => {
  test('spawn', async () => {
    const child = spawn(process.execPath, ['-e', print])
    expect(await text(child.stdout)).toBe('run.1.1')
    expect(notes).toMatchObject([{ ordinal: 1, pid: child.pid }])
    expect(notes[0]?.command).toContain(print)
    expect(here(notes[0])).toBeDefined()
  })

  test('exec, execFile and their promise forms', async () => {
    const run = promisify(execFile)
    expect((await run(process.execPath, ['-e', print])).stdout).toBe('run.1.1')
    const done = promisify(exec)
    expect((await done(`printf %s "$${MARK}"`)).stdout).toBe('run.1.2')
    expect(notes.map((note) => note.ordinal)).toEqual([1, 2])
  })

  test('fork', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'harrow-spawn-watch-'))
    try {
      writeFileSync(join(folder, 'child.mjs'), `process.send(process.env.${MARK}); process.disconnect()`)
      const child = fork(join(folder, 'child.mjs'), { execArgv: [] })
      expect(await once(child, 'message').then(([message]) => message)).toBe('run.1.1')
      await once(child, 'exit')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('the synchronous forms, of which each is noted once', () => {
    expect(execFileSync(process.execPath, ['-e', print], { encoding: 'utf8' })).toBe('run.1.1')
    expect(execSync(`printf %s "$${MARK}"`, { encoding: 'utf8' })).toBe('run.1.2')
    expect(spawnSync(process.execPath, ['-e', print], { encoding: 'utf8' }).stdout).toBe('run.1.3')
    expect(notes.map((note) => [note.ordinal, note.pid])).toEqual([
      [1, undefined],
      [2, undefined],
      [3, undefined],
    ])
    expect(process.env[MARK]).toBe('run.1')
  })
})

test('a child with an environment of its own gets nothing added', async () => {
  const child = spawn(process.execPath, ['-e', 'process.stdout.write(Object.keys(process.env).join())'], {
    env: { ONLY: '1' },
  })
  expect(await text(child.stdout)).toBe('ONLY')
  expect(notes).toHaveLength(1)
})

test('a start that fails is told to its caller as ever, and is not noted', async () => {
  const child = spawn('/does/not/exist')
  const [error] = (await once(child, 'error')) as [NodeJS.ErrnoException]
  expect(error.code).toBe('ENOENT')
  expect(notes).toEqual([])
  expect(() => execFileSync('/does/not/exist', { stdio: 'ignore' })).toThrow('ENOENT')
})

test('what the listener throws does not reach the caller', async () => {
  stop()
  stop = watchSpawns({
    mark: { name: MARK, value: 'run.1' },
    started: () => {
      throw new Error('ours')
    },
  })
  const child = spawn('true')
  expect((await once(child, 'exit'))[0]).toBe(0)
})

test('after the watch is taken off, starts are unmarked', async () => {
  stop()
  const child = spawn(process.execPath, ['-e', print])
  expect(await text(child.stdout)).toBe('run.1')
  expect(notes).toEqual([])
})
