import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify, isRunning, sameProcess, signalProcess, startByPs } from '../../src/process/identity.ts'
import { childrenOf, threadsOf } from '../../src/process/procfs.ts'
import { isDead, Sandbox, stateOf, until } from './sandbox.ts'

describe.skipIf(process.platform !== 'linux')('identity', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  it('holds for as long as the process lives', async () => {
    const id = identify(box.start('sleep', ['60']))!
    expect(sameProcess(id)).toBe(true)
    expect(isRunning(id)).toBe(true)
    expect(signalProcess(id, 'SIGKILL')).toBe(true)
    await until(() => !sameProcess(id))
    expect(signalProcess(id, 'SIGKILL')).toBe(false)
  })

  it('does not signal a pid that another process has got meanwhile', () => {
    const id = identify(box.start('sleep', ['60']))!
    const earlier = { ...id, start: id.start - 1 }
    const otherBoot = { ...id, bootId: '00000000-0000-0000-0000-000000000000' }
    for (const wrong of [earlier, otherBoot, { ...id, bootId: 'epoch' }]) {
      expect(sameProcess(wrong)).toBe(false)
      expect(signalProcess(wrong, 'SIGKILL')).toBe(false)
    }
    expect(isDead(id.pid)).toBe(false)
  })

  it('counts a zombie as the same process that no longer runs', async () => {
    const parent = box.shell('true & exec sleep 60')
    await until(() => stateOf(childrenOf(parent)[0] ?? 0) === 'Z')
    const id = identify(childrenOf(parent)[0]!)!
    expect(sameProcess(id)).toBe(true)
    expect(isRunning(id)).toBe(false)
    expect(signalProcess(id, 'SIGKILL')).toBe(false)
  })

  it('refuses pid 1, this process, and the id of a thread', () => {
    expect(signalProcess(identify(process.pid)!, 'SIGCONT')).toBe(false)
    const first = identify(1)
    if (first) expect(signalProcess(first, 'SIGCONT')).toBe(false)
    const thread = threadsOf(process.pid).find((tid) => tid !== process.pid)
    expect(thread).toBeDefined()
    expect(identify(thread!)).toBeUndefined()
  })

  it('is undefined for what is no process', () => {
    for (const pid of [0, -1, 2.5, Number.NaN, 0x7fff_ffff]) expect(identify(pid)).toBeUndefined()
  })

  it('can be had from ps where there is no procfs', async () => {
    const pid = box.start('sleep', ['60'])
    const found = startByPs(pid)!
    expect(Math.abs(found.start - Date.now() / 1000)).toBeLessThan(60)
    expect(startByPs(pid)?.start).toBe(found.start)
    process.kill(pid, 'SIGKILL')
    await until(() => startByPs(pid) === undefined)
  })
})
