import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify, type ProcessIdentity } from '../../src/process/identity.ts'
import { isNative, loadNative } from '../../src/process/native.ts'
import { childrenOf, readCommand, readStat } from '../../src/process/procfs.ts'
import { endMembers, endMembersSync } from '../../src/reap/end.ts'
import { findMembers } from '../../src/reap/members.ts'
import { isDead, Sandbox, stateOf, until } from '../process/sandbox.ts'

const native = isNative(loadNative())
const program = (name: string) => fileURLToPath(new URL(`./programs/${name}`, import.meta.url))

describe.skipIf(process.platform !== 'linux')('endMembers', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  const id = (pid: number): ProcessIdentity => identify(pid)!
  const alive = () => box.marked().filter((pid) => !isDead(pid))

  it('ends a process by SIGTERM when that is enough', async () => {
    const pid = box.start('sleep', ['60'])
    await until(() => readCommand(pid) === 'sleep 60')
    const result = await endMembers([id(pid)], { politeMs: 5000 })
    expect(result).toEqual({ ended: [{ pid, command: 'sleep 60', signal: 'SIGTERM' }], left: [] })
    expect(isDead(pid)).toBe(true)
  })

  it('forces a process that ignores SIGTERM', async () => {
    const pid = box.shell(`trap "" TERM; touch ${box.folder}/ready; while :; do sleep 0.05; done`)
    await until(() => existsSync(join(box.folder, 'ready')))
    const { ended, left } = await endMembers([id(pid)])
    expect(left).toEqual([])
    expect(ended.find((one) => one.pid === pid)?.signal).toBe('SIGKILL')
    expect(alive()).toEqual([])
  })

  it('lets a stopped process run its handler', async () => {
    const done = join(box.folder, 'done')
    const pid = box.shell(`trap "touch ${done}; exit 0" TERM; kill -STOP $$; while :; do sleep 0.01; done`)
    await until(() => stateOf(pid) === 'T')
    const { ended } = await endMembers([id(pid)], { politeMs: 5000 })
    expect(existsSync(done)).toBe(true)
    expect(ended.find((one) => one.pid === pid)?.signal).toBe('SIGTERM')
  })

  it('ends a tree with daemons, a scrubbed environment and children that resist', async () => {
    const { mark } = box
    box.shell(`
      trap "" TERM
      (setsid sh -c 'trap "" TERM; while :; do sleep 0.1; done; : ${mark}' &)
      env -i /bin/sh -c 'trap "" TERM; while :; do /bin/sleep 0.1; done; : ${mark}' &
      sh -c 'kill -STOP $$; : ${mark}' &
      touch ${box.folder}/ready
      while :; do sleep 0.1; done`)
    await until(() => existsSync(join(box.folder, 'ready')) && alive().some((pid) => stateOf(pid) === 'T'))
    await until(() => alive().length >= 4)
    const query = { tag: box.tag }
    const { left } = await endMembers(findMembers(query).members, { query })
    expect(left).toEqual([])
    await until(() => alive().length === 0)
  })

  it('ends a set that goes on forking', async () => {
    box.shell(`while :; do (sleep 0.5; : ${box.mark}) & sleep 0.02; done`)
    await until(() => alive().length > 3)
    const query = { tag: box.tag }
    const { left } = await endMembers([], { politeMs: 0, query })
    expect(left).toEqual([])
    expect(alive()).toEqual([])
  })

  it('counts a zombie as gone, and names the parent that does not wait for it', async () => {
    const parent = box.shell('true & exec sleep 60')
    await until(() => stateOf(childrenOf(parent)[0] ?? 0) === 'Z')
    const zombie = childrenOf(parent)[0]!
    const reason = `is dead, but its parent ${parent} \`sleep 60\` does not wait for it`
    const zombies = [{ pid: zombie, command: 'sh', reason }]
    expect(await endMembers([id(zombie)])).toEqual({ ended: [], left: [], zombies })
    expect(isDead(parent)).toBe(false)
  })

  it('says nothing of a zombie that goes with its parent', async () => {
    const parent = box.shell('true & exec sleep 60')
    await until(() => stateOf(childrenOf(parent)[0] ?? 0) === 'Z')
    const { ended, left, zombies } = await endMembers([id(childrenOf(parent)[0]!), id(parent)])
    expect(ended.map((one) => one.pid)).toEqual([parent])
    expect(left).toEqual([])
    // Its new parent collects it when it comes to it.
    expect(zombies?.map((one) => one.reason).join() ?? '').not.toContain(`its parent ${parent} `)
  })

  it.skipIf(!native)('does not ask a process politely that a debugger is attached to, and says so', async () => {
    const file = join(box.folder, 'pid')
    const tracer = box.start(process.execPath, [program('tracer.mjs'), file])
    await until(() => existsSync(file) && readFileSync(file, 'utf8') !== '')
    const pid = Number(readFileSync(file, 'utf8'))
    await until(() => readCommand(pid) === 'sleep 300')
    const { ended, left } = await endMembers([id(pid)], { politeMs: 50 })
    const note = expect.stringMatching(new RegExp(`^a debugger \\(${tracer} .*\\) was attached$`))
    expect(ended).toEqual([{ pid, command: 'sleep 300', signal: 'SIGKILL', note }])
    expect(left).toEqual([])
    expect(isDead(tracer)).toBe(false)
  })

  it.skipIf(!native)(
    'ends a process in uninterruptible sleep that the kernel lets go, and the child that it waited for',
    async () => {
      const parent = box.start(process.execPath, [program('vfork.mjs'), box.fifo('fifo'), box.mark])
      await until(() => stateOf(parent) === 'D' && childrenOf(parent).length === 1)
      const [child] = childrenOf(parent)
      const { ended, left } = await endMembers([id(parent)], { politeMs: 50 })
      expect(ended.map((one) => one.pid).sort()).toEqual([parent, child].sort())
      expect(left).toEqual([])
    },
  )

  it('does not touch a process that has got the pid of a known one', async () => {
    const pid = box.start('sleep', ['60'])
    const { start, ...rest } = id(pid)
    expect(await endMembers([{ ...rest, start: start - 1 }])).toEqual({ ended: [], left: [] })
    expect(endMembersSync([{ ...rest, start: start - 1 }])).toEqual({ ended: [], left: [] })
    expect(isDead(pid)).toBe(false)
  })

  it('never signals itself, its ancestors or a deliberate daemon, and reports them', async () => {
    const daemon = box.start('sleep', ['60'], { env: { HARROW_SESSION: 'keep' } })
    await until(() => readCommand(daemon) === 'sleep 60')
    const ids = [id(process.pid), id(process.ppid), id(daemon)]
    for (const result of [await endMembers(ids), endMembersSync(ids)]) {
      expect(result.ended).toEqual([])
      expect(result.left.map((one) => one.pid).sort()).toEqual(ids.map((one) => one.pid).sort())
    }
    expect(isDead(daemon)).toBe(false)
  })

  it('leaves a relative with another tag and the own children of the caller alone', async () => {
    const mine = box.start('sleep', ['60'])
    const bystander = box.start('sleep', ['61'], { env: { [box.tag.name]: `${box.mark}-2` } })
    await until(() => readCommand(mine) === 'sleep 60' && readCommand(bystander) === 'sleep 61')
    const query = { tag: box.tag }
    const { ended } = await endMembers(findMembers(query).members, { query })
    expect(ended.map((one) => one.pid)).toEqual([mine])
    expect(stateOf(bystander)).toBe('S')
  })

  it('ends a set that goes on forking for an exit handler', async () => {
    box.shell(`while :; do (sleep 0.5; : ${box.mark}) & sleep 0.02; done`)
    await until(() => alive().length > 3)
    const { left } = endMembersSync([], { tag: box.tag })
    expect(left).toEqual([])
    await until(() => alive().length === 0)
    expect(findMembers({ tag: box.tag }).members).toEqual([])
  })

  it('kills a tree at once for an exit handler', async () => {
    const pid = box.shell('trap "" TERM; sleep 60 & sleep 61 & wait')
    await until(() => childrenOf(pid).filter((child) => readCommand(child)?.startsWith('sleep')).length === 2)
    const { ended, left } = endMembersSync([id(pid)])
    expect(left).toEqual([])
    expect(ended.map((one) => one.signal)).toEqual(['SIGKILL', 'SIGKILL', 'SIGKILL'])
    await until(() => alive().length === 0)
    expect(readStat(process.pid)).toBeDefined()
  })
})
