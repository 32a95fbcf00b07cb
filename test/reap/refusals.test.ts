import { execFileSync } from 'node:child_process'
import { chmodSync, closeSync, copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify, type ProcessIdentity } from '../../src/process/identity.ts'
import { isNative, loadNative } from '../../src/process/native.ts'
import { childrenOf, listPids, PF_KTHREAD, readCommand, readOwner, readStat } from '../../src/process/procfs.ts'
import { endMembers, endMembersSync } from '../../src/reap/end.ts'
import { findMembers, type MemberQuery, type MemberSearch, selfAndAncestors } from '../../src/reap/members.ts'
import { listSessions, sidecarsOf } from '../../src/reap/state.ts'
import { isDead, Sandbox, until } from '../process/sandbox.ts'
import { MainProcess } from './main-process.ts'

const layer = loadNative()
const native = isNative(layer) ? layer : undefined
const root = process.getuid?.() === 0
const NOBODY = 65534

describe.skipIf(process.platform !== 'linux')('what is never ended', () => {
  let box: Sandbox
  let lease: number | undefined
  beforeEach(() => {
    box = new Sandbox()
    lease = undefined
  })
  afterEach(async () => {
    if (lease !== undefined) closeSync(lease)
    await box.end()
  })

  const id = (pid: number): ProcessIdentity => identify(pid)!
  const sleeper = async (env: NodeJS.ProcessEnv = {}, options = {}) => {
    const pid = box.start('sleep', ['300'], { ...options, env })
    await until(() => readCommand(pid) === 'sleep 300')
    return pid
  }
  const pids = (query: MemberQuery) => findMembers(query).members.map((member) => member.pid)

  /** Neither way of ending touches any of these, and both report them for this reason. */
  const spares = async (victims: number[], query: MemberQuery, reason: string) => {
    for (const result of [await endMembers([], { query, politeMs: 20 }), endMembersSync([], query)]) {
      expect(result.ended).toEqual([])
      const left = result.left.filter((one) => victims.includes(one.pid))
      expect(left.map((one) => [one.pid, one.reason])).toEqual(victims.map((pid) => [pid, reason]))
    }
    expect(victims.filter(isDead)).toEqual([])
  }

  it('the first process', async () => {
    const first = identify(1)
    if (first) await spares([1], { also: [first] }, 'is the first process of the system')
  })

  it('this process and its ancestors', async () => {
    const own = [...selfAndAncestors()].filter((pid) => pid > 1 && identify(pid)).sort((a, b) => a - b)
    for (const pid of own) await spares([pid], { also: [id(pid)] }, 'is this process or one of its ancestors')
  })

  it('the sidecar of a session', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.ready()
    const spare = sidecarsOf(listSessions(main.stateDir))
    await spares([sidecar!.pid], { also: [sidecar!], spare }, 'is the sidecar of a session')
  })

  it('the sidecar of its own session, when the main process ends everything', async () => {
    const main = new MainProcess(box)
    const { sidecar } = await main.ready()
    await main.hold(box.mark)
    await main.tell({ do: 'end' })
    expect(box.inArguments()).toEqual([])
    expect(isDead(sidecar!.pid)).toBe(false)
  })

  it.skipIf(!root)('a process of another user, even for root', async () => {
    const pid = await sleeper({}, { uid: NOBODY, gid: NOBODY })
    await spares([pid], { tag: box.tag }, 'belongs to another user')
    await spares([pid], { also: [id(pid)] }, 'belongs to another user')
  })

  it('a process that is older than the session', async () => {
    const pid = await sleeper()
    const since = id(pid).start + 1
    await spares([pid], { also: [id(pid)], since }, 'started before the session')
    expect(pids({ tag: box.tag, since })).toEqual([])
  })

  it('a deliberate daemon, whatever speaks for it', async () => {
    lease = native?.makeLease(box.mark)
    const pid = await sleeper({ HARROW_SESSION: 'keep' })
    const reason = 'is marked HARROW_SESSION=keep'
    await spares([pid], { tag: box.tag }, reason)
    await spares([pid], { also: [id(pid)] }, reason)
    if (lease !== undefined) await spares([pid], { lease: box.mark, leaseFd: lease }, reason)
  })

  it('a kernel thread', async () => {
    const pid = listPids().find((one) => ((readStat(one)?.flags ?? 0) & PF_KTHREAD) !== 0)
    if (pid) await spares([pid], { also: [id(pid)] }, 'is a kernel thread')
  })

  it('a process of another boot, or that started at another time than the known one', async () => {
    const pid = await sleeper()
    const { bootId, start } = id(pid)
    for (const also of [
      [{ bootId: 'another', pid, start }],
      [{ bootId, pid, start: start - 1 }],
      [{ bootId, pid, start: start + 1 }],
    ]) {
      expect(findMembers({ also })).toEqual({ members: [], spared: [] })
      expect(await endMembers(also)).toEqual({ ended: [], left: [] })
      expect(endMembersSync(also)).toEqual({ ended: [], left: [] })
    }
    expect(isDead(pid)).toBe(false)
  })

  it('a process that is marked with another session, though it holds the lease', async (context) => {
    lease = native?.makeLease(box.mark)
    if (lease === undefined) return context.skip()
    const query = { lease: box.mark, leaseFd: lease }
    const inner = await sleeper({ HARROW_SESSION: 'inner' })
    const own = [await sleeper({ HARROW_SESSION: box.mark }), await sleeper()]
    expect(pids(query).sort()).toEqual([...own].sort())
    await endMembers([], { query })
    expect(own.map(isDead)).toEqual([true, true])
    expect(isDead(inner)).toBe(false)
  })

  it('a run inside a run by its lease, but it goes with the test that started it', async (context) => {
    lease = native?.makeLease(box.mark)
    if (lease === undefined) return context.skip()
    const script = `HARROW_SESSION=inner sleep 300 & (HARROW_SESSION=inner setsid sleep 301 &); wait; : ${box.mark}`
    const outer = box.shell(script, { env: { HARROW_SESSION: box.mark } })
    const away = () => box.marked().find((pid) => readCommand(pid) === 'sleep 301' && readStat(pid)?.ppid !== outer)
    await until(() => childrenOf(outer).some((pid) => readCommand(pid) === 'sleep 300') && away() !== undefined)
    const { members } = findMembers({ tag: { name: 'HARROW_SESSION', value: box.mark }, lease: box.mark })
    expect(members.map((member) => member.why)).toEqual(['carries the tag', `child of ${outer}`])
    expect(members.map((member) => member.pid)).not.toContain(away())
  })

  it('a process that nothing can be read of', async () => {
    chmodSync(box.folder, 0o755)
    const program = join(box.folder, 'sleep')
    copyFileSync('/bin/sleep', program)
    // The kernel shows nothing of a process whose program its user may not read.
    chmodSync(program, 0o111)
    const user = root ? { uid: NOBODY, gid: NOBODY } : {}
    const hidden = box.start(program, ['300'], { ...user, env: { HARROW_SESSION: box.mark } })
    const seen = box.start('sleep', ['300'], { ...user, env: { HARROW_SESSION: box.mark } })
    await until(() => readOwner(hidden)?.uid === (user.uid ?? process.getuid?.()) && readStat(hidden)?.comm === 'sleep')
    await until(() => readCommand(seen) === 'sleep 300')
    const QUERY = JSON.stringify({ tag: { name: 'HARROW_SESSION', value: box.mark }, lease: box.mark })
    const find = fileURLToPath(new URL('./programs/find.ts', import.meta.url))
    const env = { PATH: process.env.PATH, QUERY }
    const found = JSON.parse(execFileSync(process.execPath, [find], { ...user, env, encoding: 'utf8' })) as MemberSearch
    expect(found.members.map((member) => member.pid)).toEqual([seen])
    expect(found.spared).toEqual([])
  })
})
