import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { identify } from '../../src/process/identity.ts'
import { readCommand } from '../../src/process/procfs.ts'
import {
  listTempRoots,
  makeTempRoot,
  OWNER_FILE,
  removeTempRoot,
  shmName,
  socketName,
  sweepRuntimeDir,
  sweepShm,
  sweepSockets,
  sweepTemp,
} from '../../src/reap/files.ts'
import { isDead, Sandbox, until } from '../process/sandbox.ts'

const linux = process.platform === 'linux'
const root = process.getuid?.() === 0
const HOUR_AGO = new Date(Date.now() - 3_600_000)

let box: Sandbox
beforeEach(() => {
  box = new Sandbox()
})
afterEach(() => box.end())

/** A process that was, and is no more. */
async function deadProcess(): Promise<{ bootId: string; pid: number; start: number }> {
  const pid = box.start('sleep', ['60'])
  const id = identify(pid)!
  process.kill(pid, 'SIGKILL')
  await until(() => isDead(pid))
  return id
}

async function bindAndDie(path: string): Promise<void> {
  const code = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  const pid = box.node(code)
  await until(() => isDead(pid))
  expect(existsSync(path)).toBe(true)
}

describe.skipIf(!linux)('the temp root of a run', () => {
  let temp: string
  beforeEach(() => {
    temp = join(box.folder, 'temp')
    mkdirSync(temp)
    vi.stubEnv('TMPDIR', temp)
  })
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  const ownedBy = (folder: string, owner: object): void => {
    const path = join(folder, OWNER_FILE)
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...owner }))
  }

  test('is for its owner only and says who that is', () => {
    const folder = makeTempRoot('0a1b2c3d')
    expect(dirname(folder)).toBe(temp)
    expect(basename(folder)).toMatch(/^harrow-0a1b2c3d-\w{6}$/)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(statSync(join(folder, OWNER_FILE)).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder)).toEqual([OWNER_FILE])
    const owner = { ...identify(process.pid), id: '0a1b2c3d', pidNamespace: expect.stringMatching(/^pid:/) }
    expect(listTempRoots()).toEqual([{ path: folder, id: '0a1b2c3d', owner, state: 'alive' }])
  })

  test('is removed by its owner with all that is in it', () => {
    const folder = makeTempRoot('0a1b2c3d')
    mkdirSync(join(folder, 'a', 'b'), { recursive: true })
    expect(removeTempRoot(folder)).toBe(true)
    expect(existsSync(folder)).toBe(false)
    expect(removeTempRoot(folder)).toBe(false)
  })

  test('is removed by a sweep when its owner is dead, also one of an earlier boot, and not before', async () => {
    const [mine, dead, old] = ['aaaaaaaa', 'bbbbbbbb', 'cccccccc'].map(makeTempRoot) as [string, string, string]
    const gone = await deadProcess()
    ownedBy(dead, gone)
    ownedBy(old, { bootId: 'a-boot-of-long-ago' })
    const expected = {
      removed: [
        { path: dead, reason: `its owner, process ${gone.pid}, is gone` },
        { path: old, reason: `its owner, process ${process.pid}, is gone` },
      ],
      kept: [],
    }
    expect(sweepTemp({ dryRun: true })).toEqual(expected)
    expect(readdirSync(temp)).toHaveLength(3)
    expect(sweepTemp()).toEqual(expected)
    expect(readdirSync(temp)).toEqual([basename(mine)])
  })

  test('is removed for given runs only, and kept while processes of its run live', async () => {
    const [one, two] = ['aaaaaaaa', 'bbbbbbbb'].map(makeTempRoot) as [string, string]
    const gone = await deadProcess()
    for (const folder of [one, two]) ownedBy(folder, gone)
    expect(sweepTemp({ keep: new Set(['aaaaaaaa']), runs: new Set(['aaaaaaaa']) })).toEqual({
      removed: [],
      kept: [{ path: one, reason: 'processes of its run still live' }],
    })
    sweepTemp({ runs: new Set(['aaaaaaaa']) })
    expect([one, two].map((folder) => existsSync(folder))).toEqual([false, true])
  })

  test('is kept when its owner cannot be seen from here', async () => {
    const folder = makeTempRoot('aaaaaaaa')
    ownedBy(folder, { ...(await deadProcess()), pidNamespace: 'pid:[1]' })
    expect(sweepTemp().kept).toEqual([
      { path: folder, reason: 'its owner belongs to another pid namespace and cannot be seen' },
    ])
    expect(existsSync(folder)).toBe(true)
  })

  test.each<[string, string]>([
    ['no JSON', '{'],
    ['null', 'null'],
    ['no process', '{"bootId":"x"}'],
    [
      'that of another run',
      JSON.stringify({ bootId: 'x', pid: 4_194_305, start: 1, id: 'bbbbbbbb', pidNamespace: null }),
    ],
    ['too long', `{"bootId":"${'x'.repeat(5000)}"}`],
  ])('is kept when its owner file is %s', (_name, text) => {
    const folder = makeTempRoot('aaaaaaaa')
    writeFileSync(join(folder, OWNER_FILE), text)
    utimesSync(folder, HOUR_AGO, HOUR_AGO)
    expect(sweepTemp()).toEqual({
      removed: [],
      kept: [{ path: folder, reason: 'it has no owner.json that tells its owner' }],
    })
    expect(existsSync(folder)).toBe(true)
  })

  test('is removed without an owner file only when it is empty and old', () => {
    const [young, old] = ['harrow-aaaaaaaa-abcdef', 'harrow-bbbbbbbb-abcdef'].map((name) => join(temp, name)) as [
      string,
      string,
    ]
    for (const folder of [young, old]) mkdirSync(folder)
    utimesSync(old, HOUR_AGO, HOUR_AGO)
    expect(sweepTemp().removed).toEqual([{ path: old, reason: 'it is empty and nobody owns it' }])
    expect(readdirSync(temp)).toEqual([basename(young)])
  })

  test('is told from folders, files and links with similar names', async () => {
    const elsewhere = mkdtempSync(join(box.folder, 'harrow-aaaaaaaa-'))
    writeFileSync(join(elsewhere, 'precious'), 'x')
    symlinkSync(elsewhere, join(temp, 'harrow-aaaaaaaa-abcdef'))
    writeFileSync(join(temp, 'harrow-bbbbbbbb-abcdef'), 'x')
    for (const name of ['harrow-test-abcdef', 'harrow-aaaaaaaa-abc', 'xharrow-aaaaaaaa-abcdef']) {
      mkdirSync(join(temp, name))
      utimesSync(join(temp, name), HOUR_AGO, HOUR_AGO)
    }
    expect(sweepTemp()).toEqual({ removed: [], kept: [] })
    expect(removeTempRoot(join(temp, 'harrow-aaaaaaaa-abcdef'))).toBe(false)
    expect(removeTempRoot(elsewhere)).toBe(false)
    expect(readdirSync(temp)).toHaveLength(5)
    expect(readdirSync(elsewhere)).toEqual(['precious'])
  })

  test.skipIf(!root)('is none of another user', async () => {
    const folder = makeTempRoot('aaaaaaaa')
    ownedBy(folder, await deadProcess())
    chownSync(folder, 65534, 65534)
    expect(sweepTemp()).toEqual({ removed: [], kept: [] })
    expect(existsSync(folder)).toBe(true)
  })

  test('is not looked for where there is no folder for temporary files', () => {
    vi.stubEnv('TMPDIR', join(temp, 'nowhere'))
    expect(sweepTemp()).toEqual({ removed: [], kept: [] })
    expect(() => makeTempRoot('aaaaaaaa')).toThrow(/ENOENT/)
  })
})

describe.skipIf(!linux)('socket files', () => {
  const servers: Server[] = []
  afterEach(async () => {
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve))
  })

  /** Binds in a process that is killed, so that the file stays. */
  const listen = async (path: string): Promise<void> => {
    const server = createServer().listen(path)
    servers.push(server)
    await until(() => server.listening)
  }
  const DEAD = '4194305.1'

  test('are named after their creator', () => {
    expect(socketName('db')).toBe(`db.${process.pid}.${identify(process.pid)?.start}.sock`)
  })

  test('are removed when their creator is dead and nobody listens', async () => {
    const path = join(box.folder, `db.${DEAD}.sock`)
    await bindAndDie(path)
    const removed = [{ path, reason: 'its creator, process 4194305, is gone and nobody listens' }]
    expect(await sweepSockets(box.folder, { dryRun: true })).toEqual({ removed, kept: [] })
    expect(existsSync(path)).toBe(true)
    expect(await sweepSockets(box.folder)).toEqual({ removed, kept: [] })
    expect(existsSync(path)).toBe(false)
  })

  test('are removed when a later process has the pid of their creator', async () => {
    const path = join(box.folder, `db.${process.pid}.1.sock`)
    await bindAndDie(path)
    expect((await sweepSockets(box.folder)).removed).toHaveLength(1)
  })

  test('are kept when their creator lives, though nobody listens', async () => {
    const path = join(box.folder, socketName('db'))
    await bindAndDie(path)
    expect(await sweepSockets(box.folder)).toEqual({ removed: [], kept: [] })
    expect(existsSync(path)).toBe(true)
  })

  test('are kept when somebody listens, though their creator is dead', async () => {
    const path = join(box.folder, `db.${DEAD}.sock`)
    await listen(path)
    expect(await sweepSockets(box.folder)).toEqual({
      removed: [],
      kept: [{ path, reason: 'somebody else listens there' }],
    })
    expect(existsSync(path)).toBe(true)
  })

  test('are kept under unknown names, and so is what is no socket', async () => {
    const names = ['server.sock', `${DEAD}.sock`, `db.${DEAD}.socket`, `db.x.1.sock`]
    for (const name of names) await bindAndDie(join(box.folder, name))
    writeFileSync(join(box.folder, `file.${DEAD}.sock`), 'x')
    mkdirSync(join(box.folder, `folder.${DEAD}.sock`))
    symlinkSync(join(box.folder, 'server.sock'), join(box.folder, `link.${DEAD}.sock`))
    expect(await sweepSockets(box.folder)).toEqual({ removed: [], kept: [] })
    expect(readdirSync(box.folder)).toHaveLength(names.length + 3)
  })

  test('are not looked for in a folder that is not there', async () => {
    expect(await sweepSockets(join(box.folder, 'nowhere'))).toEqual({ removed: [], kept: [] })
  })
})

describe.skipIf(!linux)('shared memory', () => {
  const file = (name: string): string => {
    const path = join(box.folder, name)
    writeFileSync(path, 'x'.repeat(4096))
    // Whoever has copied a file with its times has not made it older.
    utimesSync(path, HOUR_AGO, HOUR_AGO)
    return path
  }
  const runs = [
    { id: 'dead', alive: false },
    { id: 'dead-not', alive: true },
    { id: 'live', alive: true },
  ]
  const sweep = (more: Parameters<typeof sweepShm>[0] = {}) => sweepShm({ folder: box.folder, runs, ...more })

  test('of a dead run is removed, and no other', () => {
    const dead = file(shmName('dead', 'pages'))
    for (const name of ['live', 'dead-not', 'unknown']) file(shmName(name, 'pages'))
    file('foreign')
    const removed = [{ path: dead, reason: 'its run dead is dead' }]
    expect(sweep({ dryRun: true })).toEqual({ removed, kept: [], unsupported: null })
    expect(existsSync(dead)).toBe(true)
    expect(sweep()).toEqual({ removed, kept: [], unsupported: null })
    expect(readdirSync(box.folder).sort()).toEqual([
      'foreign',
      'harrow-dead-not-pages',
      'harrow-live-pages',
      'harrow-unknown-pages',
    ])
  })

  test('that a process has open is kept', async () => {
    const path = file(shmName('dead', 'pages'))
    const pid = box.shell(`exec 8<${path}; exec sleep 60`)
    await until(() => readCommand(pid) === 'sleep 60')
    expect(sweep()).toMatchObject({ removed: [], kept: [{ path, reason: `process ${pid} uses it` }] })
    process.kill(pid, 'SIGKILL')
    await until(() => isDead(pid))
    expect(sweep().removed).toMatchObject([{ path }])
  })

  // A program is mapped while it runs. One that is many programs in one goes by its name.
  const sleep = linux ? realpathSync('/bin/sleep') : ''
  test.skipIf(basename(sleep) !== 'sleep')('that a process maps is kept', async () => {
    const path = join(box.folder, shmName('dead', 'program'))
    writeFileSync(path, readFileSync(sleep), { mode: 0o700 })
    const pid = box.start(path, ['60'])
    await until(() => readCommand(pid) === `${path} 60`)
    expect(sweep()).toMatchObject({ removed: [], kept: [{ path, reason: `process ${pid} uses it` }] })
  })

  test('of nobody is removed on request, when it is old enough and everybody can be looked into', () => {
    const path = file('pages')
    mkdirSync(join(box.folder, 'folder'))
    symlinkSync(path, join(box.folder, 'link'))
    expect(sweep()).toEqual({ removed: [], kept: [], unsupported: null })
    const young = sweep({ foreign: true })
    expect(young).toEqual({ removed: [], kept: [{ path, reason: 'it is less than 60 s old' }], unsupported: null })
    const { removed, kept } = sweep({ foreign: true, youngMs: 0 })
    // Processes of others could have it open, and only root can look into those.
    expect([...removed, ...kept]).toEqual([
      { path, reason: expect.stringMatching(/^nobody maps or opens it$|could not be looked into and may use it$/) },
    ])
    expect(existsSync(path)).toBe(removed.length === 0)
    expect(readdirSync(box.folder)).toContain('folder')
    expect(readdirSync(box.folder)).toContain('link')
  })

  test('is not looked for in a folder that is not there', () => {
    expect(sweep({ folder: join(box.folder, 'nowhere') })).toEqual({ removed: [], kept: [], unsupported: null })
  })
})

test.skipIf(linux)('shared memory is not swept off Linux, and that is said', () => {
  expect(sweepShm({ foreign: true })).toMatchObject({ removed: [], unsupported: expect.any(String) })
})

describe.skipIf(!linux)('the runtime folder of actors', () => {
  test('loses what dead trees have left: stale sockets, old task trees, folders that are empty; nothing that may be in use', async () => {
    const folder = join(box.folder, 'actors')
    const logs = join(folder, 'logs')
    const aWeekAgo = new Date(Date.now() - 8 * 24 * 3_600_000)
    const file = (name: string, at?: Date): string => {
      const path = join(folder, name)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, 'text')
      if (at) {
        utimesSync(path, at, at)
        if (dirname(path) !== folder) utimesSync(dirname(path), at, at)
      }
      return path
    }
    const gone = await deadProcess()
    const stale = join(folder, `tally.${gone.pid}.${gone.start}.sock`)
    const old = dirname(file('logs/0ld0ld0l/tally.log', aWeekAgo))
    // A tree whose root is dead, one of which a process is left, one whose root is this process, one that wrote lately.
    const ids = [1, 2, 3, 4].map((n) => `0000000${n}-0000-4000-8000-000000000000`)
    const dead = dirname(file(`logs/${ids[0]}.${gone.pid}.${gone.start}/tally.log`, aWeekAgo))
    file(`logs/${ids[1]}.${gone.pid}.${gone.start}/tally.log`, aWeekAgo)
    file(`logs/${ids[2]}.${process.pid}.${identify(process.pid)?.start}/tally.log`, aWeekAgo)
    file(`logs/${ids[3]}.${gone.pid}.${gone.start}/tally.log`, HOUR_AGO)
    const stays = box.launch('sleep', ['60'], { env: { HARROW_TREE: ids[1] } })
    const recent = dirname(file('logs/aaaaaaaa/tally.log', HOUR_AGO))
    const empty = ['bbbbbbbb', 'cccccccc'].map((name) => join(logs, name))
    for (const one of empty) mkdirSync(one)
    utimesSync(empty[0]!, HOUR_AGO, HOUR_AGO)
    const tree = file('harrow-tree-4194305.log', aWeekAgo)
    file('harrow-tree-4194306.log')
    file('auth-key', aWeekAgo)
    await bindAndDie(stale)
    const removed = [stale, dead, empty[0], tree]
    const dry = await sweepRuntimeDir(folder, { dryRun: true })
    expect(dry.removed.map(({ path }) => path).sort()).toEqual([...removed].sort())
    expect(removed.every((path) => existsSync(path!))).toBe(true)
    expect(await sweepRuntimeDir(folder)).toEqual(dry)
    expect(readdirSync(folder).sort()).toEqual(['auth-key', 'harrow-tree-4194306.log', 'logs'])
    expect(readdirSync(logs).sort()).toEqual([
      ...ids.slice(1).map((id) => expect.stringContaining(id)),
      '0ld0ld0l',
      'aaaaaaaa',
      'cccccccc',
    ])
    stays.kill('SIGKILL')
    await once(stays, 'exit')
    // Its tree may be a daemon that lives.
    expect([old, recent].map((path) => readdirSync(path))).toEqual([['tally.log'], ['tally.log']])
  })
})
