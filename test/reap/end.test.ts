import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify, type ProcessIdentity } from '../../src/process/identity.ts'
import { childrenOf, readCommand, readStat } from '../../src/process/procfs.ts'
import { endMembers, endMembersSync } from '../../src/reap/end.ts'
import { findMembers } from '../../src/reap/members.ts'
import { isDead, Sandbox, stateOf, until } from '../process/sandbox.ts'

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
    box.shell(`while :; do (sleep 0.05; : ${box.mark}) & sleep 0.02; done`)
    await until(() => alive().length > 3)
    const query = { tag: box.tag }
    const { left } = await endMembers([], { politeMs: 0, query })
    expect(left).toEqual([])
    expect(alive()).toEqual([])
  })

  it('counts a zombie as gone', async () => {
    const parent = box.shell('true & exec sleep 60')
    await until(() => stateOf(childrenOf(parent)[0] ?? 0) === 'Z')
    const zombie = childrenOf(parent)[0]!
    expect(await endMembers([id(zombie)])).toEqual({ ended: [], left: [] })
    expect(isDead(parent)).toBe(false)
  })

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
