import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify, type ProcessIdentity } from '../../src/process/identity.ts'
import { isNative, loadNative } from '../../src/process/native.ts'
import { childrenOf, readStat } from '../../src/process/procfs.ts'
import { Session } from '../../src/reap/session.ts'
import { currentBoot, host, pidNamespace, readState, type SessionState, writeState } from '../../src/reap/state.ts'
import { describeStrength } from '../../src/reap/strength.ts'
import { isDead, Sandbox, stateOf, until } from '../process/sandbox.ts'
import { MainProcess } from './main-process.ts'

const native = isNative(loadNative())

describe.skipIf(process.platform !== 'linux')('a session', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  const zombies = (pid: number) => childrenOf(pid).filter((child) => stateOf(child) === 'Z')

  it('writes its file and its registry for its owner only', async () => {
    const main = new MainProcess(box)
    const { sidecar, notes } = await main.ready()
    const pid = await main.hold(box.mark)
    await until(() => main.state() !== undefined && readFileSync(main.path('pids'), 'utf8').includes(`${pid} `))
    expect(notes).toEqual([])
    expect(main.state()).toMatchObject({
      format: 1,
      id: main.id,
      kind: 'vitest',
      main: { pid: main.pid, start: readStat(main.pid)!.start },
      sidecar: { pid: sidecar!.pid, start: sidecar!.start },
      tag: { name: 'HARROW_SESSION', value: main.id },
      politeMs: 100,
    })
    expect(readFileSync(main.path('pids'), 'utf8')).toContain(`${pid} ${readStat(pid)!.start}\n`)
    const modes = [main.stateDir, main.path('json'), main.path('pids')].map((path) => statSync(path).mode & 0o777)
    expect(modes).toEqual([0o700, 0o600, 0o600])
  })

  it('finds each new descendant once, and never its sidecar', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.ready()
    const pid = await main.hold(box.mark)
    const [child] = childrenOf(pid)
    const lines = () => readFileSync(main.path('pids'), 'utf8').trim().split('\n')
    await until(() => lines().some((line) => line.startsWith(`${child} `)))
    const { value } = await main.tell({ do: 'sample' })
    expect(value).toEqual([])
    expect(new Set(lines()).size).toBe(lines().length)
    expect(lines().some((line) => line.startsWith(`${sidecar!.pid} `))).toBe(false)
  })

  it.skipIf(!native)('ends what left its parent, its session and its environment', async () => {
    const main = new MainProcess(box)
    const script = `(env -i setsid /bin/sh -c 'trap "" TERM; while :; do sleep 1; done; : ${box.mark}' &); exit 0`
    await main.tell({ do: 'shell', script })
    await until(() => box.inArguments().some((pid) => readStat(pid)?.session === pid))
    const { value } = await main.tell({ do: 'end' })
    expect(value).toMatchObject({ left: [] })
    expect(box.inArguments()).toEqual([])
  })

  it.skipIf(!native)('adopts orphans, and collects them when they are dead', async () => {
    const main = new MainProcess(box)
    const dead = join(box.folder, 'dead')
    // One is seen with its first parent, the other is born and orphaned between two looks.
    const script = `for n in 1 2 3; do (sh -c 'sleep 0.2; echo >> ${dead}' &); done; (true &); sleep 0.1; : ${box.mark}`
    await main.tell({ do: 'shell', script })
    await until(() => existsSync(dead) && statSync(dead).size === 3)
    await until(() => zombies(main.pid).length === 0 && box.inArguments().length === 0)
  })

  it.each([false, true])(
    'leaves the exit of children to Node, though it sees them dead (worker thread: %s)',
    async (thread) => {
      const main = new MainProcess(box)
      const { value } = await main.tell({ do: 'late-exit', thread })
      expect(value).toEqual({ pid: expect.any(Number), code: 7 })
    },
  )

  it.skipIf(!native)('is strong with the native layer, and says so', async () => {
    const { strength, missing } = await new MainProcess(box).ready()
    expect([strength, missing]).toEqual(['strong', null])
    expect(describeStrength({ strength, missing })).toBe('strong: orphans are adopted, every child holds a lease')
  })

  it('is basic without the native layer, and says why', async () => {
    const main = new MainProcess(box, {}, { env: { HARROW_NATIVE: 'off' } })
    expect(describeStrength(await main.ready())).toBe(
      'basic: processes are known by their environment and by descent only; no more because it is switched off by HARROW_NATIVE=off',
    )
    expect(describeStrength({ strength: 'basic', missing: 'koffi is not installed' })).toContain('npm install')
  })

  it.skipIf(!native)('is basic when the limit of open files leaves no room for the lease', async () => {
    const main = new MainProcess(box, {}, {}, 'ulimit -n 800')
    const { strength, missing } = await main.ready()
    expect([strength, missing]).toEqual(['basic', 'the limit of open files (ulimit -n) is below 901'])
  })

  describe('below harrow exec', () => {
    const supervisor = (change: Partial<SessionState> = {}): string => {
      const folder = join(box.folder, 'sessions')
      mkdirSync(folder, { mode: 0o700 })
      const own = identify(process.pid)!
      const state: SessionState = {
        format: 1,
        id: 'supervisor',
        kind: 'exec',
        label: '',
        root: '/',
        folder,
        bootId: currentBoot(),
        host: host(),
        pidNamespace: pidNamespace(),
        main: { pid: own.pid, start: own.start },
        sidecar: null,
        strength: 'strong',
        tag: { name: 'HARROW_SESSION', value: 'supervisor' },
        leaseFd: null,
        since: 0,
        startedAt: 0,
        politeMs: 0,
        temp: null,
        ...change,
      }
      writeState(state)
      return state.id
    }
    const strengthBelow = async (HARROW_EXEC: string) =>
      (await new MainProcess(box, {}, { env: { HARROW_EXEC } }).ready()).strength

    it('is exact', async () => {
      expect(await strengthBelow(supervisor())).toBe('exact')
    })

    it.each<[string, () => Partial<SessionState>]>([
      ['is another kind of session', () => ({ kind: 'vitest' })],
      ['cannot adopt', () => ({ strength: 'basic' })],
      ['started at another time', () => ({ main: { pid: process.pid, start: 1 } })],
      ['is no ancestor', () => ({ main: identity(box.start('sleep', ['300'])) })],
    ])('is not exact when the named one %s', async (_case, change) => {
      expect(await strengthBelow(supervisor(change()))).not.toBe('exact')
    })

    it('is not exact when there is no such session', async () => {
      expect(await strengthBelow('nobody')).not.toBe('exact')
    })
  })

  describe('that cannot be opened as it should', () => {
    const opened = (id: string, stateDir: string) => {
      const tag = { name: 'HARROW_SESSION', value: id }
      const session = Session.open({ id, kind: 'vitest', label: '', root: '/', tag, stateDir })
      session.watch()
      session.record(identify(process.pid)!)
      session.sample()
      session.ownTemp(box.folder)
      session.close(true)
      session.close(true)
      return session
    }

    it('says that its files cannot be written, and works on', () => {
      writeFileSync(join(box.folder, 'file'), '')
      const { notes, sidecar } = opened('unwritable', join(box.folder, 'file'))
      expect(notes).toEqual([expect.stringMatching(/^no session file: .*; what this run leaves is not found if/)])
      expect(sidecar).toBeUndefined()
    })

    it('does not write into a folder that others can write to', () => {
      const folder = join(box.folder, 'open')
      mkdirSync(folder)
      chmodSync(folder, 0o777)
      expect(opened('open', folder).notes[0]).toContain('can be written by others')
    })

    it('does not take an id for a path', () => {
      const { notes } = opened('../up', join(box.folder, 'sessions'))
      expect(notes).toEqual(['no session file: "../up" or its tag cannot be the name of a session'])
      expect(readState(join(box.folder, 'up.json'))).toBeUndefined()
    })
  })

  it('lets its sidecar go when it is closed in a process that goes on', async () => {
    const stateDir = join(box.folder, 'sessions')
    const tag = { name: 'HARROW_SESSION', value: 'short' }
    const session = Session.open({ id: 'short', kind: 'vitest', label: '', root: '/', tag, stateDir })
    const { sidecar } = session
    session.close(true)
    await until(() => isDead(sidecar!.pid))
    expect(existsSync(join(stateDir, 'short.json'))).toBe(false)
  })
})

function identity(pid: number): Pick<ProcessIdentity, 'pid' | 'start'> {
  return { pid, start: readStat(pid)!.start }
}
