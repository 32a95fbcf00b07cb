import { chmodSync, existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify } from '../../src/process/identity.ts'
import { readCommand } from '../../src/process/procfs.ts'
import { recoverSessions } from '../../src/reap/recover.ts'
import {
  currentBoot,
  host,
  listSessions,
  pidNamespace,
  readRegistry,
  type SessionState,
  statusOf,
  writeState,
} from '../../src/reap/state.ts'
import { isDead, Sandbox, until } from '../process/sandbox.ts'
import { MainProcess } from './main-process.ts'

describe.skipIf(process.platform !== 'linux')('recoverSessions', () => {
  let box: Sandbox
  let folder: string
  beforeEach(() => {
    box = new Sandbox()
    folder = join(box.folder, 'sessions')
    mkdirSync(folder, { mode: 0o700 })
  })
  afterEach(() => box.end())

  /** Files of a session whose main process is gone. */
  const leave = (change: Partial<SessionState> = {}): SessionState => {
    const state: SessionState = {
      format: 1,
      id: 'gone',
      kind: 'vitest',
      label: 'a test',
      root: '/project',
      folder,
      bootId: currentBoot(),
      host: host(),
      pidNamespace: pidNamespace(),
      main: { pid: process.pid, start: 1 },
      sidecar: { pid: process.ppid, start: 1 },
      strength: 'strong',
      tag: { name: box.tag.name, value: box.mark },
      leaseFd: null,
      since: 0,
      startedAt: Date.now(),
      politeMs: 100,
      temp: null,
      ...change,
    }
    writeState(state)
    writeFileSync(join(folder, `${state.id}.pids`), '')
    return state
  }
  const sleeper = async (seconds = 300) => {
    const pid = box.start('sleep', [String(seconds)])
    await until(() => readCommand(pid)?.startsWith('sleep') === true)
    return pid
  }

  it('finishes a session whose main process and sidecar were both killed', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.tell({ do: 'tree', mark: box.mark, depth: 1 })
    await until(() => box.inArguments().length >= 6)
    // Stopped, so that it cannot start another sidecar first.
    main.child.kill('SIGSTOP')
    process.kill(sidecar!.pid, 'SIGKILL')
    await main.kill()
    expect(box.inArguments().length).toBeGreaterThan(0)
    const [recovered, ...more] = await recoverSessions({ stateDir: main.stateDir })
    expect(more).toEqual([])
    expect(recovered).toMatchObject({ id: main.id, label: 'a test', by: 'run', left: [] })
    expect(recovered!.ended.length).toBeGreaterThanOrEqual(6)
    expect(box.inArguments()).toEqual([])
    expect(readdirSync(main.stateDir)).toEqual([])
  })

  it('tells once what a sidecar has done, to the project that it did it for', async () => {
    const main = new MainProcess(box)
    await main.hold(box.mark)
    await main.kill()
    await main.reaped()
    const { stateDir } = main
    expect(await recoverSessions({ stateDir, root: '/elsewhere' })).toEqual([])
    const [told] = await recoverSessions({ stateDir, root: '/' })
    expect(told).toMatchObject({ id: main.id, by: 'sidecar', left: [] })
    expect(told!.ended.map((one) => one.command)).toContain('sh')
    expect(await recoverSessions({ stateDir })).toEqual([])
    expect(readdirSync(stateDir)).toEqual([])
  })

  it('does not touch a session whose main process lives', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.ready()
    const held = await main.hold(box.mark)
    expect(await recoverSessions({ stateDir: main.stateDir })).toEqual([])
    expect(isDead(held)).toBe(false)
    expect(main.state()?.sidecar?.pid).toBe(sidecar!.pid)
  })

  it('does not touch a session whose sidecar lives', async () => {
    const sidecar = identify(await sleeper())!
    const state = leave({ sidecar: { pid: sidecar.pid, start: sidecar.start } })
    expect(statusOf(state)).toBe('sidecar-lives')
    expect(await recoverSessions({ stateDir: folder })).toEqual([])
    expect(isDead(sidecar.pid)).toBe(false)
    expect(listSessions(folder)).toEqual([state])
  })

  it('removes the files of an earlier boot and touches no process', async () => {
    const pid = await sleeper()
    leave({ bootId: 'another' })
    expect(await recoverSessions({ stateDir: folder })).toEqual([])
    expect(readdirSync(folder)).toEqual([])
    expect(isDead(pid)).toBe(false)
  })

  it('keeps the files of other machines and containers, which it cannot look into', async () => {
    const pid = await sleeper()
    leave({ id: 'elsewhere', bootId: 'another', host: 'another' })
    leave({ id: 'container', pidNamespace: 'pid:[1]' })
    leave({ id: 'long-ago', pidNamespace: 'pid:[1]', startedAt: Date.now() - 20 * 86_400_000 })
    expect(await recoverSessions({ stateDir: folder })).toEqual([])
    const ids = listSessions(folder).map((state) => state.id)
    expect(ids.sort()).toEqual(['container', 'elsewhere'])
    expect(isDead(pid)).toBe(false)
  })

  it('can run twice at the same time', async () => {
    const pids = [await sleeper(), await sleeper(), await sleeper()]
    leave()
    const both = await Promise.all([recoverSessions({ stateDir: folder }), recoverSessions({ stateDir: folder })])
    expect(both.flat().every((one) => one.left.length === 0)).toBe(true)
    expect(pids.map(isDead)).toEqual([true, true, true])
    expect(readdirSync(folder)).toEqual([])
  })

  it('reports what must not be ended', async () => {
    const pid = box.start('sleep', ['300'], { env: { HARROW_SESSION: 'keep' } })
    await until(() => readCommand(pid) === 'sleep 300')
    leave()
    const [recovered] = await recoverSessions({ stateDir: folder })
    expect(recovered).toMatchObject({ ended: [], left: [{ pid, reason: 'is marked HARROW_SESSION=keep' }] })
    expect(isDead(pid)).toBe(false)
  })

  it('reads nothing but the folder when there is nothing to do', async () => {
    expect(await recoverSessions({ stateDir: join(folder, 'missing') })).toEqual([])
    expect(await recoverSessions({ stateDir: folder })).toEqual([])
  })

  it('reports files that it cannot use, and goes on', async () => {
    const pid = await sleeper()
    leave()
    writeFileSync(join(folder, 'torn.json'), '{"format":1,')
    writeFileSync(join(folder, 'other.json'), '{"format":2}')
    writeFileSync(join(folder, 'null.json'), 'null')
    mkdirSync(join(folder, 'folder.json'))
    box.fifo('sessions/fifo.json')
    const bad: string[] = []
    const [recovered] = await recoverSessions({
      stateDir: folder,
      bad: (path, reason) => bad.push(`${path} ${reason}`),
    })
    expect(recovered?.ended.map((one) => one.pid)).toEqual([pid])
    expect(bad.map((line) => line.slice(folder.length + 1)).sort()).toEqual([
      'fifo.json is no file',
      'folder.json is no file',
      'null.json is no session file of this version',
      'other.json is no session file of this version',
      'torn.json is no JSON',
    ])
  })

  it('passes over a folder that others can write to', async () => {
    const pid = await sleeper()
    leave()
    chmodSync(folder, 0o777)
    const bad: string[] = []
    expect(await recoverSessions({ stateDir: folder, bad: (_, reason) => bad.push(reason) })).toEqual([])
    expect(bad[0]).toBe('can be written by others')
    expect(isDead(pid)).toBe(false)
  })

  it('removes files that belong to no session after a day', async () => {
    for (const name of ['a.pids', 'a.reaped.json', 'a.json.12.tmp', 'b.pids', 'notes.txt']) {
      writeFileSync(join(folder, name), '{}')
      if (name !== 'b.pids') utimesSync(join(folder, name), 1, 1)
    }
    await recoverSessions({ stateDir: folder })
    expect(readdirSync(folder).sort()).toEqual(['b.pids', 'notes.txt'])
  })

  it('reads a registry that was torn or tampered with', () => {
    const state = leave()
    const lines = ['12 34', '12 34', 'x', '1 2 3', '-5 6', '99999999999999 1', '', '56 78', '90 1']
    writeFileSync(join(folder, 'gone.pids'), lines.join('\n'))
    expect(readRegistry(state)).toEqual([
      { bootId: state.bootId, pid: 12, start: 34 },
      { bootId: state.bootId, pid: 56, start: 78 },
    ])
    expect(existsSync(join(folder, 'gone.pids'))).toBe(true)
  })
})
