import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { type DumpRecord, parseDumpRecord } from '../../src/dump/schema.ts'
import { dumpOnHang, dumpOnSignal } from '../../src/probe/watchdog.ts'
import { cleanEnv } from '../project.ts'
import { STRIP } from './target.ts'

const PROGRAM = fileURLToPath(new URL('./programs/watched.mjs', import.meta.url))
const LIMIT = 60_000
const folder = mkdtempSync(join(tmpdir(), 'harrow-watched-'))
const ended: (() => Promise<unknown>)[] = []
let files = 0

afterEach(async () => {
  for (const end of ended.splice(0)) await end()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(kind: string, ending = 'json') {
  const path = join(folder, `${++files}.${ending}`)
  const child = spawn(process.execPath, [...STRIP, PROGRAM, kind, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: cleanEnv(),
    detached: true,
  })
  const exit = once(child, 'exit')
  ended.push(async () => {
    try {
      // The group: it may wait for a child of its own.
      process.kill(-child.pid!, 'SIGKILL')
    } catch {}
    await exit
  })
  return { child, path, exit }
}

async function written(path: string): Promise<DumpRecord> {
  await expect.poll(() => existsSync(path), { timeout: 30_000, interval: 50 }).toBe(true)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  return parseDumpRecord(JSON.parse(readFileSync(path, 'utf8')))
}

describe('dumpOnHang', () => {
  test(
    'names the line of a promise that does not settle',
    async () => {
      const { path, child } = run('promise')
      const record = await written(path)
      expect(record.header.program?.reason).toBe('dumpOnHang: not done after 0.2 s')
      expect(record.actors[0]?.awaits ?? []).toSatisfy((awaits: unknown[]) => awaits.length >= 0)
      expect(record.verdict.class).toMatch(/^(?:idle|waiting)$/)
      expect(child.exitCode).toBeNull()
    },
    LIMIT,
  )

  test(
    'names the line of a loop',
    async () => {
      const record = await written(run('loop').path)
      expect(record.verdict).toMatchObject({ class: 'event-loop-blocked', variant: 'js' })
      expect(record.verdict.culpritFrame).toMatchObject({
        source: 'for (;;) {}',
        site: { path: expect.stringMatching(/watched\.mjs$/) },
      })
    },
    LIMIT,
  )

  test.runIf(process.platform === 'linux')(
    'says in which system call it sits',
    async () => {
      const record = await written(run('syscall').path)
      expect(record.verdict.class).toBe('event-loop-blocked')
      expect(record.verdict.diagnosis).toMatch(/inside spawnSync.*waiting for child \d+ `sleep 60`/)
    },
    LIMIT,
  )

  test(
    "with watch 'loop' waits until the loop stands still",
    async () => {
      const record = await written(run('stalls').path)
      expect(record.header.program?.reason).toBe('dumpOnHang: the event loop has not turned for 0.2 s')
      expect(record.verdict.culpritFrame?.source).toBe('for (;;) {}')
    },
    LIMIT,
  )

  test.each(['done', 'turns'])(
    'writes nothing when all is well: %s',
    async (kind) => {
      const { path, exit } = run(kind)
      expect(await exit).toEqual([0, null])
      expect(existsSync(path)).toBe(false)
    },
    LIMIT,
  )

  test(
    'does not keep the process alive',
    async () => {
      const { path, exit } = run('ends')
      expect(await exit).toEqual([0, null])
      expect(existsSync(path)).toBe(false)
    },
    LIMIT,
  )

  test.each<[string, () => unknown, RegExp]>([
    ['no time', () => dumpOnHang(0), /expects seconds above 0/],
    ['a time that is none', () => dumpOnHang(Number.NaN), /expects seconds above 0/],
    ['an unknown watch', () => dumpOnHang(1, { watch: 'all' as 'loop' }), /'call' or 'loop', got "all"/],
    ['SIGKILL', () => dumpOnSignal('SIGKILL'), /a signal that can be caught/],
    ['SIGUSR1', () => dumpOnSignal('SIGUSR1'), /is free, such as 'SIGUSR2'/],
  ])('refuses %s', (_name, call, words) => {
    expect(call).toThrow(words)
    expect(call).toThrow(expect.objectContaining({ code: 'HARROW_USAGE' }))
  })
})

describe.runIf(process.platform === 'linux')('dumpOnSignal', () => {
  test(
    'dumps a process that spins',
    async () => {
      const { path, child } = run('signal')
      await once(child.stdout!, 'data')
      child.kill('SIGUSR2')
      const record = await written(path)
      expect(record.verdict).toMatchObject({ class: 'event-loop-blocked', variant: 'js' })
      expect(record.header.program?.reason).toBe('dumpOnSignal: SIGUSR2 came')
      expect(child.signalCode).toBeNull()
    },
    LIMIT,
  )

  test(
    'tells where the dump is, and ends when it is stopped',
    async () => {
      const { path, child, exit } = run('idleSignal', 'txt')
      await once(child.stdout!, 'data')
      child.kill('SIGUSR2')
      const [line] = await once(child.stdout!, 'data')
      expect(JSON.parse(String(line))).toEqual({ path })
      expect(readFileSync(path, 'utf8')).toMatch(/^harrow process dump, format 1\n/)
      expect(await exit).toEqual([0, null])
    },
    LIMIT,
  )
})
