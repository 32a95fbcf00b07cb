import fs from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { monotonic, pause } from '../../src/process/clean.ts'
import { readStat } from '../../src/process/procfs.ts'

describe('clean copies', () => {
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  it('wait in real time under fake timers', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'performance', 'Date'] })
    const before = monotonic()
    await pause(5)
    expect(monotonic()).toBeGreaterThan(before)
  })

  it.skipIf(process.platform !== 'linux')('read files behind the back of a spy', () => {
    const spy = vi.spyOn(fs, 'openSync').mockImplementation(() => {
      throw new Error('spied')
    })
    expect(readStat(process.pid)?.pid).toBe(process.pid)
    expect(spy).not.toHaveBeenCalled()
  })
})
