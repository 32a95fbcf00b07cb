import { closeSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify } from '../../src/process/identity.ts'
import { isNative, loadNative } from '../../src/process/native.ts'
import { childrenOf, PF_KTHREAD, readCommand, readEnvironTag, readStat } from '../../src/process/procfs.ts'
import { findMembers, refusal, selfAndAncestors } from '../../src/reap/members.ts'
import { Sandbox, stateOf, until } from '../process/sandbox.ts'

describe.skipIf(process.platform !== 'linux')('findMembers', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  const found = () => findMembers({ tag: box.tag }).members.map((member) => member.pid)
  const started = (pid: number) => until(() => readCommand(pid)?.startsWith('sleep') === true)

  it('finds a tree by its tag, each parent before its children', async () => {
    const pid = box.shell('sleep 61 & sleep 62 & wait')
    await until(() => childrenOf(pid).length === 2)
    await until(() => found().length === 3)
    const { members } = findMembers({ tag: box.tag })
    expect(members[0]).toMatchObject({ pid, depth: 0, why: 'carries the tag' })
    expect(members.slice(1).map((member) => member.depth)).toEqual([1, 1])
  })

  it('finds a daemon that left its session and its parent', async () => {
    box.shell('(setsid sleep 64 &) ; exit 0')
    await until(() => box.marked().some((pid) => readCommand(pid) === 'sleep 64' && readStat(pid)?.session === pid))
    const { members } = findMembers({ tag: box.tag })
    expect(members.map((member) => member.command)).toContain('sleep 64')
  })

  it('finds a child without the tag through its parent', async () => {
    const pid = box.shell(`env -i /bin/sh -c 'while :; do /bin/sleep 1; done; : ${box.mark}' & wait`)
    await until(() => childrenOf(pid).some((child) => readEnvironTag(child, box.tag.name) === null))
    const bare = childrenOf(pid)[0]!
    expect(findMembers({ tag: box.tag }).members.find((member) => member.pid === bare)?.why).toBe(`child of ${pid}`)
  })

  it.each([
    ['the tag is only the beginning of its value', (box: Sandbox) => ({ [box.tag.name]: `${box.mark}-2` })],
    ['the tag is only the end of its value', (box: Sandbox) => ({ [box.tag.name]: `x${box.mark}` })],
    ['the variable has a longer name', (box: Sandbox) => ({ [box.tag.name]: '', [`X${box.tag.name}`]: box.mark })],
    [
      'the tag stands inside another value',
      (box: Sandbox) => ({ [box.tag.name]: '', A: `${box.tag.name}=${box.mark}` }),
    ],
  ])('leaves a process alone when %s', async (_case, env) => {
    const foreign = box.start('sleep', ['66'], { env: env(box) })
    const own = box.start('sleep', ['67'])
    await started(foreign)
    await started(own)
    expect(found()).toEqual([own])
  })

  it('leaves out what started before the session', async () => {
    const early = box.start('sleep', ['68'])
    await started(early)
    await until(() => readStat(box.start('true', []))!.start > readStat(early)!.start)
    const late = box.start('sleep', ['69'])
    await started(late)
    const since = identify(late)!
    const pids = (from: typeof since | number) => findMembers({ tag: box.tag, since: from }).members.map((m) => m.pid)
    expect(pids(since)).toEqual([late])
    expect(pids(since.start)).toEqual([late])
    expect(findMembers({ also: [identify(early)!], since }).spared[0]?.reason).toBe('started before the session')
  })

  it('finds values that go on below the tag when it is asked to, and no others', async () => {
    const values = [box.mark, `${box.mark}.17`, `${box.mark}.17.2`, `${box.mark}7`, `${box.mark}-1`, `x${box.mark}.1`]
    const pids = values.map((value) => box.start('sleep', ['66'], { env: { [box.tag.name]: value } }))
    for (const pid of pids) await started(pid)
    const below = findMembers({ tag: { ...box.tag, below: true } }).members.map((member) => member.pid)
    expect(below.sort()).toEqual(pids.slice(0, 3).sort())
    expect(found()).toEqual(pids.slice(0, 1))
  })

  it('finds what holds the lease, with and without knowing its number', async (context) => {
    const layer = loadNative()
    const lease = isNative(layer) ? layer.makeLease(box.mark) : undefined
    if (lease === undefined) return context.skip()
    try {
      const pid = box.start('sleep', ['66'], { env: { [box.tag.name]: '' } })
      await started(pid)
      for (const leaseFd of [lease, undefined, lease + 1, 0]) {
        expect(findMembers({ lease: box.mark, leaseFd }).members).toMatchObject([{ pid, why: 'holds the lease' }])
      }
      for (const id of [box.mark.slice(0, -1), `${box.mark}-2`, '', 'none']) {
        expect(findMembers({ lease: id, leaseFd: lease }).members).toEqual([])
      }
    } finally {
      closeSync(lease)
    }
  })

  it('finds what stayed in a session that a member leads, though nothing else links it', async () => {
    const script = '(env -i /bin/sh -c "/bin/sleep 66; : $0" &); exec sleep 67'
    const leader = box.start('setsid', ['/bin/sh', '-c', script, box.mark])
    const orphan = () =>
      box.marked().find((pid) => readStat(pid)?.session === leader && readStat(pid)?.ppid !== leader && pid !== leader)
    await until(() => readCommand(leader) === 'sleep 67' && orphan() !== undefined)
    const { members } = findMembers({ also: [identify(leader)!] })
    expect(members.find((member) => member.pid === orphan())?.why).toBe(`in the session of ${leader}`)
  })

  it('finds what stayed in a session whose leader is known and dead but not collected', async () => {
    const parent = box.shell(`setsid /bin/sh -c 'sleep 66 & wait' & exec sleep 67`)
    const leader = () => childrenOf(parent).find((pid) => readStat(pid)?.session === pid) ?? 0
    await until(() => childrenOf(leader()).some((pid) => readCommand(pid) === 'sleep 66'))
    const known = identify(leader())!
    const [orphan] = childrenOf(known.pid)
    process.kill(known.pid, 'SIGKILL')
    await until(() => stateOf(known.pid) === 'Z')
    const { members } = findMembers({ also: [known] })
    expect(members).toMatchObject([{ pid: orphan, why: `in the session of ${known.pid}` }])
  })

  it('does not take the session of a member that does not lead it', async () => {
    const mine = box.start('sleep', ['66'])
    const sibling = box.start('sleep', ['67'], { env: { [box.tag.name]: '' } })
    await started(mine)
    await started(sibling)
    expect(readStat(mine)?.session).toBe(readStat(sibling)?.session)
    expect(found()).toEqual([mine])
  })

  it('spares what is marked as a deliberate daemon, and says so', async () => {
    const daemon = box.start('sleep', ['70'], { env: { HARROW_SESSION: 'keep' } })
    await started(daemon)
    const { members, spared } = findMembers({ tag: box.tag })
    expect(members).toEqual([])
    expect(spared).toEqual([{ pid: daemon, command: 'sleep 70', reason: 'is marked HARROW_SESSION=keep' }])
  })

  it.skipIf(process.getuid?.() !== 0)('spares a process of another user', async () => {
    const other = box.start('sleep', ['71'], { uid: 65534, gid: 65534 })
    await started(other)
    expect(findMembers({ tag: box.tag }).spared).toMatchObject([{ pid: other, reason: 'belongs to another user' }])
  })

  it('does not take a known identity for the process that has its pid now', async () => {
    const id = identify(box.start('sleep', ['72'], { env: { [box.tag.name]: '' } }))!
    expect(findMembers({ also: [id] }).members.map((member) => member.pid)).toEqual([id.pid])
    expect(findMembers({ also: [{ ...id, start: id.start - 1 }] }).members).toEqual([])
  })

  it('leaves zombies out', async () => {
    const parent = box.shell('true & exec sleep 73')
    await until(() => stateOf(childrenOf(parent)[0] ?? 0) === 'Z')
    expect(found()).toEqual([parent])
  })

  it('refuses this process and all its ancestors', () => {
    const all = [...selfAndAncestors()].filter((pid) => pid > 1)
    expect(all).toEqual(expect.arrayContaining([process.pid, process.ppid]))
    const { members, spared } = findMembers({ also: all.map((pid) => identify(pid)!) })
    expect(members).toEqual([])
    expect(spared.map((one) => one.reason)).toEqual(all.map(() => 'is this process or one of its ancestors'))
  })

  it('refuses the first process of the system and kernel threads', () => {
    expect(refusal({ bootId: '', pid: 1, start: 0 })).toBe('is the first process of the system')
    const kernelThread = identify(2)
    if (kernelThread && (readStat(2)?.flags ?? 0) & PF_KTHREAD) expect(refusal(kernelThread)).toBe('is a kernel thread')
  })

  it('rejects a tag that could match by accident', () => {
    for (const tag of [
      { name: '', value: 'x' },
      { name: 'X', value: '' },
      { name: 'A=B', value: 'x' },
      { name: 'HARROW_SESSION', value: 'keep' },
    ]) {
      expect(() => findMembers({ tag })).toThrow(/expected a tag/)
    }
  })
})
