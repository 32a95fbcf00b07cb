import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  available,
  bootId,
  childrenOf,
  listPids,
  readCommand,
  readEnvironTag,
  readOwner,
  readStat,
  threadsOf,
  wchan,
} from '../../src/process/procfs.ts'
import { Sandbox, stateOf, until } from './sandbox.ts'

const NO_SUCH_PID = 0x7fff_ffff

describe.skipIf(process.platform !== 'linux')('procfs', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  it('reads a process whose name holds a closing parenthesis and blanks', async () => {
    const program = join(box.folder, 'a) R 1 2')
    copyFileSync('/bin/sleep', program)
    const pid = box.start(program, ['60'])
    await until(() => readCommand(pid) === `${program} 60`)
    const stat = readStat(pid)
    expect(stat).toMatchObject({ pid, comm: 'a) R 1 2', ppid: process.pid })
    expect(stat?.start).toBeGreaterThan(0)
  })

  it('tells the value of a variable only when the whole name matches', async () => {
    const pid = box.start('sleep', ['60'], {
      env: { XTAG: 'no', OTHER: 'TAG=inside', TAG: 'yes', TAGGED: 'no', EMPTY: '' },
    })
    await until(() => readCommand(pid) === 'sleep 60')
    expect(readEnvironTag(pid, 'TAG')).toBe('yes')
    expect(readEnvironTag(pid, 'EMPTY')).toBe('')
    expect(readEnvironTag(pid, 'AG')).toBeNull()
  })

  it('does not find a variable inside the value of another one', async () => {
    const pid = box.start('sleep', ['60'], { env: { OTHER: 'TAG=inside', XTAG: 'yes' } })
    await until(() => readCommand(pid) === 'sleep 60')
    expect(readEnvironTag(pid, 'TAG')).toBeNull()
  })

  it('answers with undefined for a process that does not exist', () => {
    for (const pid of [NO_SUCH_PID, 0, -1, 1.5, Number.NaN]) {
      expect(readStat(pid)).toBeUndefined()
      expect(readCommand(pid)).toBeUndefined()
      expect(readEnvironTag(pid, 'PATH')).toBeUndefined()
      expect(readOwner(pid)).toBeUndefined()
      expect(wchan(pid)).toBeUndefined()
      expect(childrenOf(pid)).toEqual([])
      expect(threadsOf(pid)).toEqual([])
    }
  })

  it('sees the children of a process, zombies too', async () => {
    const pid = box.shell('sleep 60 & true & exec sleep 61')
    await until(() => childrenOf(pid).some((child) => stateOf(child) === 'Z'))
    expect(childrenOf(pid)).toHaveLength(2)
  })

  it('reads this process, its threads and this boot', () => {
    expect(available()).toBe(true)
    expect(readStat(process.pid)?.rssBytes).toBeGreaterThan(1 << 20)
    expect(readStat(process.pid)?.rssBytes).toBeLessThan(process.memoryUsage.rss() * 4)
    expect(listPids()).toContain(process.pid)
    expect(readOwner(process.pid)).toEqual({
      tgid: process.pid,
      uid: process.getuid?.(),
      effectiveUid: process.geteuid?.(),
    })
    expect(threadsOf(process.pid)[0]).toBe(process.pid)
    expect(bootId()).toMatch(/^[0-9a-f-]{36}$/)
  })
})
