import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { runChild } from '../../scripts/dev/child.ts'

const run = (script: string, limitMs = 20_000) => runChild(process.execPath, ['-e', script], { cwd: tmpdir(), limitMs })

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('runChild', () => {
  test('gives the exit code and what was printed', async () => {
    const result = await run(`console.log('out'); console.error('err'); process.exitCode = 3`)
    expect(result).toMatchObject({ code: 3, signal: null, late: false, stdout: 'out\n', survivors: [] })
    expect(result.output).toContain('err')
  })

  test('ends a child at its limit', async () => {
    const result = await run(`setTimeout(() => {}, 60000)`, 300)
    expect(result).toMatchObject({ code: null, signal: 'SIGTERM', late: true })
  })

  test('ends a child that ignores SIGTERM', async () => {
    const result = await run(`process.on('SIGTERM', () => {}); setTimeout(() => {}, 60000)`, 500)
    expect(result).toMatchObject({ code: null, signal: 'SIGKILL', late: true })
  })

  test.skipIf(!existsSync('/proc/self/environ'))(
    'names and ends what a child leaves behind, also in another session',
    async () => {
      const result = await run(`
      const { spawn } = require('node:child_process')
      const left = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { detached: true, stdio: 'inherit' })
      left.unref()
      console.log(left.pid)`)
      const pid = Number(result.stdout)
      expect(result.survivors.map((one) => one.pid)).toEqual([pid])
      await expect.poll(() => alive(pid), { timeout: 5000 }).toBe(false)
    },
  )
})
