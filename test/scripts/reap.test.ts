import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readCommand } from '../../src/process/procfs.ts'
import { socketName } from '../../src/reap/files.ts'
import { isDead, stateOf, until } from '../process/sandbox.ts'
import { hasSession, type TestRun, World } from './world.ts'

const linux = process.platform === 'linux'
const root = process.getuid?.() === 0

describe.skipIf(!linux)('harrow reap', () => {
  let world: World
  beforeEach(() => {
    world = new World()
  })
  afterEach(() => world.end())

  const alive = (run: TestRun): boolean => run.children.every((pid) => !isDead(pid))
  const gone = (run: TestRun): boolean => run.children.every(isDead)
  const recordOf = async (args: string[]) => JSON.parse((await world.harrow([...args, '--json'])).out)

  test('has nothing to say where nothing was left', async () => {
    expect(await world.harrow(['reap'])).toMatchObject({ code: 0, err: '' })
    const { code, out } = await world.harrow(['reap', '--yes'])
    expect(code).toBe(0)
    expect(out).toContain('nothing was left behind')
  })

  test('lists what a dead run has left and touches nothing', async () => {
    const run = await world.abandonedRun('sleep 100; :')
    const { code, out, err } = await world.harrow(['reap'])
    expect({ code, err }).toEqual({ code: 1, err: '' })
    expect(out).toContain(`run ${run.id} (a run of a test): its main process ${run.main} is dead`)
    expect(out).toMatch(new RegExp(`\\b${run.children[0]} +\\d+ s +sleeping +\\d+ %  .*sh -c sleep 100`))
    expect(out).toContain(run.temp)
    expect(out).toContain('--yes')
    expect(out).not.toContain('\u001b')
    expect(alive(run)).toBe(true)
    expect([existsSync(run.temp), hasSession(world, run.id)]).toEqual([true, true])
  })

  test('ends it with --yes, removes the files, and finds nothing the next time', async () => {
    const run = await world.abandonedRun('sleep 100; :', 'setsid sleep 101 & sleep 102')
    const { code, out } = await world.harrow(['reap', '--yes'])
    expect(code, out).toBe(0)
    expect(out).toContain('ended with SIGTERM')
    expect(gone(run)).toBe(true)
    expect(world.marked().filter((pid) => !isDead(pid))).toEqual([])
    expect([existsSync(run.temp), hasSession(world, run.id)]).toEqual([false, false])
    expect((await world.harrow(['reap'])).code).toBe(0)
  })

  test('forces what ignores SIGTERM when the grace is over', async () => {
    const ready = join(world.folder, 'ready')
    const run = await world.startRun(`trap "" TERM; touch ${ready}; while :; do sleep 0.1; done`)
    await until(() => existsSync(ready))
    await world.abandon(run)
    const { runs } = await recordOf(['reap', '--yes', '--grace', '50'])
    const ended = runs.find(({ id }: TestRun) => id === run.id).ended
    expect(ended).toContainEqual(expect.objectContaining({ pid: run.children[0], signal: 'SIGKILL' }))
    expect(gone(run)).toBe(true)
  })

  test('leaves a run alone whose main process lives, even when it is stopped', async () => {
    const run = await world.startRun('sleep 100; :')
    process.kill(run.main, 'SIGSTOP')
    await until(() => stateOf(run.main) === 'T')
    for (const args of [['--yes'], ['--yes', '--all', '--run', run.id]]) {
      const { code, out } = await world.harrow(['reap', ...args])
      expect(code, out).toBe(0)
      expect(out).toContain(`left alone, for they live: ${run.id} (main process ${run.main})`)
    }
    expect(alive(run)).toBe(true)
    expect([existsSync(run.temp), hasSession(world, run.id)]).toEqual([true, true])
  })

  test('ends with --run that run and no other, and takes no part of an id for it', async () => {
    const [one, two] = [await world.abandonedRun('sleep 100; :'), await world.abandonedRun('sleep 100; :')]
    const part = await world.harrow(['reap', '--yes', '--run', one.id.slice(0, 7)])
    expect(part).toMatchObject({ code: 0, out: `nothing is left of run ${one.id.slice(0, 7)}\n` })
    expect((await world.harrow(['reap', '--yes', '--run', one.id])).code).toBe(0)
    expect([gone(one), alive(two)]).toEqual([true, true])
    expect([existsSync(one.temp), existsSync(two.temp)]).toEqual([false, true])
  })

  test('leaves a deliberate daemon alone and says so', async () => {
    const run = await world.startRun('HARROW_SESSION=keep sleep 103; :')
    await until(() => world.marked().some((pid) => readCommand(pid) === 'sleep 103'))
    await world.abandon(run)
    const { code, out } = await world.harrow(['reap', '--yes'])
    expect(code, out).toBe(0)
    expect(out).toMatch(/not touched: process \d+ is marked HARROW_SESSION=keep \(sleep 103\)/)
    expect(gone(run)).toBe(true)
    expect(world.marked().some((pid) => readCommand(pid) === 'sleep 103')).toBe(true)
  })

  test.skipIf(!root)('reports what belongs to another user, and fails for it', async () => {
    const run = await world.startRun('exec setpriv --reuid=65534 --regid=65534 --clear-groups sleep 104')
    await until(() => readCommand(run.children[0]!) === 'sleep 104')
    await world.abandon(run)
    const { code, out } = await world.harrow(['reap', '--yes'])
    expect(code, out).toBe(1)
    expect(out).toContain(`left: process ${run.children[0]} belongs to another user (sleep 104)`)
    expect(alive(run)).toBe(true)
    expect(hasSession(world, run.id)).toBe(true)
  })

  test('leaves a session of another pid namespace alone, and removes the files of one of an earlier boot', async () => {
    const [far, old] = [await world.abandonedRun('sleep 100; :'), await world.abandonedRun('sleep 100; :')]
    const change = ({ id }: TestRun, more: object): void => {
      const path = join(world.sessions, `${id}.json`)
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...more }), { mode: 0o600 })
    }
    change(far, { pidNamespace: 'pid:[1]' })
    change(old, { bootId: 'a-boot-of-long-ago' })
    const { code, out } = await world.harrow(['reap', '--yes'])
    expect(code, out).toBe(0)
    expect(out).toContain(`another pid namespace or container: ${far.id}`)
    expect(out).toContain(`run ${old.id} (a run of a test): of an earlier boot`)
    expect([hasSession(world, far.id), hasSession(world, old.id)]).toEqual([true, false])
    expect([alive(far), alive(old)]).toEqual([true, true])
  })

  test('is not stopped by a broken session file', async () => {
    const run = await world.abandonedRun('sleep 100; :')
    writeFileSync(join(world.sessions, 'broken.json'), '{"format":1', { mode: 0o600 })
    const { code, out } = await world.harrow(['reap', '--yes'])
    expect(code, out).toBe(0)
    expect(out).toContain('broken.json is no JSON')
    expect(gone(run)).toBe(true)
  })

  test('takes a run without a session file only when it is named and has no living parent', async () => {
    const run = await world.startRun('sleep 100; :')
    rmSync(join(world.sessions, `${run.id}.json`))
    rmSync(run.temp, { recursive: true })
    const { code, out } = await world.harrow(['reap', '--yes', '--run', run.id])
    expect(code, out).toBe(0)
    expect(out).toContain('nothing tells whether their main process lives')
    expect(alive(run)).toBe(true)
  })

  test('finds a run without a session file by its temp folder', async () => {
    const run = await world.abandonedRun('sleep 100; :')
    rmSync(join(world.sessions, `${run.id}.json`))
    const { code, out } = await world.harrow(['reap', '--yes'])
    expect(code, out).toBe(0)
    expect(gone(run)).toBe(true)
    expect(existsSync(run.temp)).toBe(false)
  })

  test('ends with --parent everything below a living process and leaves that alone', async () => {
    const parent = world.node(`
      const { spawn } = require('node:child_process')
      spawn('sleep', ['105'])
      spawn('/bin/sh', ['-c', 'sleep 106 & wait'])
      setInterval(() => {}, 1000)`)
    const sleeps = (): number[] => world.marked().filter((pid) => /^sleep 10[56]$/.test(readCommand(pid) ?? ''))
    await until(() => sleeps().length === 2)
    const dry = await world.harrow(['reap', '--parent', String(parent)])
    expect(dry.code).toBe(1)
    expect(dry.out).toContain(`below process ${parent}, which lives and is left alone`)
    expect(sleeps()).toHaveLength(2)

    const { code, out } = await world.harrow(['reap', '--parent', String(parent), '--yes', '--grace', '500'])
    expect(code, out).toBe(0)
    expect(sleeps()).toEqual([])
    expect(isDead(parent)).toBe(false)
  })

  test('fails with --parent when the parent starts its children anew', async () => {
    const parent = world.node(`
      const { spawn } = require('node:child_process')
      const start = () => spawn('sleep', ['108']).on('exit', start)
      start()`)
    await until(() => world.marked().some((pid) => readCommand(pid) === 'sleep 108'))
    const { code, out } = await world.harrow(['reap', '--parent', String(parent), '--yes'])
    // A parent that takes its time is not waited for.
    expect(code, out).toBe(out.includes(`was started anew by process ${parent}`) ? 1 : 0)
    expect(isDead(parent)).toBe(false)
  })

  test('removes stale sockets alone with --sockets', async () => {
    const run = await world.abandonedRun('sleep 100; :')
    const live = join(world.temp, socketName('live'))
    const server = createServer().listen(live)
    const stale = join(world.temp, 'gone.4194305.1.sock')
    try {
      await until(() => existsSync(live))
      world.node(`require('net').createServer().listen(${JSON.stringify(stale)})`)
      await until(() => existsSync(stale))
      const binder = world.marked().find((pid) => readCommand(pid)?.includes(stale))!
      const kept = await world.harrow(['reap', '--sockets', '--yes'])
      expect(kept.out).toContain(`socket kept: ${stale}: somebody else listens there`)
      process.kill(binder, 'SIGKILL')
      await until(() => isDead(binder))

      expect((await world.harrow(['reap', '--sockets'])).code).toBe(1)
      const { code, out } = await world.harrow(['reap', '--sockets', '--yes'])
      expect(code, out).toBe(0)
      expect([existsSync(live), existsSync(stale)]).toEqual([true, false])
      expect(alive(run)).toBe(true)
    } finally {
      server.close()
    }
  })

  test('removes the shared memory of the run that it ends', async () => {
    const [dead, living] = [await world.abandonedRun('sleep 100; :'), await world.startRun('sleep 100; :')]
    const paths = [dead, living].map(({ id }) => `/dev/shm/harrow-${id}-pages`)
    try {
      for (const path of paths) writeFileSync(path, 'x')
      const said: string[] = []
      for (const run of [dead, living]) said.push((await world.harrow(['reap', '--yes', '--run', run.id])).out)
      expect(
        paths.map((path) => existsSync(path)),
        said.join('\n'),
      ).toEqual([false, true])
    } finally {
      for (const path of paths) rmSync(path, { force: true })
    }
  })

  test('prints everything as JSON', async () => {
    const run = await world.abandonedRun('sleep 100; : --password=hunter2')
    const record = await recordOf(['reap'])
    expect(record).toMatchObject({ format: 1, dryRun: true, sockets: { removed: [], kept: [] } })
    const found = record.runs.find(({ id }: TestRun) => id === run.id)
    expect(found).toMatchObject({ status: 'abandoned', mainPid: run.main, dead: true })
    const shell = found.processes.find(({ pid }: { pid: number }) => pid === run.children[0])
    expect(shell).toMatchObject({ state: 'S', ageMs: expect.any(Number), cpuPercent: expect.any(Number) })
    expect(shell.command).toContain('--password=[redacted]')
    expect(record.temp.removed).toEqual([{ path: run.temp, reason: `its owner, process ${run.main}, is gone` }])
  })

  test.each<[string, string[], string]>([
    ['an option that it does not know', ['--force'], 'unknown option --force'],
    ['a value for a switch', ['--yes=no'], '--yes'],
    ['an argument', ['1234'], 'expected no argument without an option, got 1234'],
    ['a grace that is no number', ['--grace', 'soon'], '--grace expects a whole number'],
    ['a grace below zero', ['--grace', '-1'], '--grace expects a whole number from 0 to'],
    ['a run without an id', ['--run'], '--run'],
    ['an id with a path in it', ['--run', '../x'], '--run expects the id of a run'],
    ['a process that is not there', ['--parent', '2147483647'], 'there is no process 2147483647'],
    ['a run and a parent', ['--run', 'a', '--parent', '2'], 'expected --run or --parent, got both'],
    ['a parent and files', ['--parent', '2', '--all'], '--parent is about processes only'],
  ])('refuses %s with one sentence and exit code 2', async (_name, args, words) => {
    mkdirSync(world.sessions, { recursive: true, mode: 0o700 })
    const { code, out, err } = await world.harrow(['reap', ...args, '--yes'])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain(words)
    expect(err.trimEnd().split('\n')).toHaveLength(1)
  })

  test('explains itself', async () => {
    const { code, out } = await world.harrow(['reap', '--help'])
    expect(code).toBe(0)
    for (const word of [
      '--yes',
      '--run',
      '--parent',
      '--sockets',
      '--shm',
      '--all',
      '--grace',
      '--json',
      'EXIT CODES',
    ]) {
      expect(out).toContain(word)
    }
  })
})
