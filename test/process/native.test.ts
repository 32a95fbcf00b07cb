import { execFileSync } from 'node:child_process'
import { closeSync, readlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { descriptorTarget, openDescriptors } from '../../src/process/descriptors.ts'
import { identify, signalProcess } from '../../src/process/identity.ts'
import { isNative, LOWEST_LEASE_FD, loadNative, type Native } from '../../src/process/native.ts'
import { childrenOf, readCommand, readStat } from '../../src/process/procfs.ts'
import { isDead, Sandbox, stateOf, until } from './sandbox.ts'

const layer = loadNative()
const module = JSON.stringify(new URL('../../src/process/native.ts', import.meta.url).href)

/** Runs code in a Node of its own, with `native` loaded; what it returns. */
function inNode(code: string, env: NodeJS.ProcessEnv = {}): unknown {
  const source = `import { loadNative } from ${module}
    const native = loadNative()
    const result = await (async () => { ${code} })()
    process.stdout.write(JSON.stringify(result))`
  const options = { encoding: 'utf8', env: { PATH: process.env.PATH, ...env }, timeout: 20_000 } as const
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', source], options))
}

describe('loadNative', () => {
  it('says that it is switched off', () => {
    expect(inNode('return native', { HARROW_NATIVE: 'off' })).toEqual({
      missing: 'it is switched off by HARROW_NATIVE=off',
    })
  })

  it('answers the same at the second call', () => {
    expect(loadNative()).toBe(layer)
  })
})

describe.skipIf(!isNative(layer))('the native layer', () => {
  const native = layer as Native
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  it('lives beside koffi as others load it', () => {
    const koffi = createRequire(import.meta.url)('koffi') as {
      load(path: null): { func(prototype: string): () => number }
    }
    expect(koffi.load(null).func('int getppid()')()).toBe(process.ppid)
    expect(native.pidfdOpen(0)).toBeUndefined()
  })

  it('makes a process adopt orphans, and stop that', () => {
    const code = `
      const { execFileSync } = await import('node:child_process')
      const { readFileSync } = await import('node:fs')
      const parentOfOrphan = () => {
        const pid = execFileSync('/bin/sh', ['-c', 'sleep 300 > /dev/null 2>&1 & echo $!'], { encoding: 'utf8' }).trim()
        const parent = /^PPid:\\t(\\d+)/m.exec(readFileSync('/proc/' + pid + '/status', 'utf8'))[1]
        process.kill(Number(pid), 'SIGKILL')
        return Number(parent) === process.pid
      }
      const seen = [native.isSubreaper(), parentOfOrphan()]
      seen.push(native.becomeSubreaper(), native.isSubreaper(), parentOfOrphan())
      seen.push(native.becomeSubreaper(false), native.isSubreaper(), parentOfOrphan())
      return seen`
    expect(inNode(code)).toEqual([false, false, true, true, true, true, false, false])
  })

  it('collects one dead child, no living one and never any', () => {
    const code = `
      const { execFileSync } = await import('node:child_process')
      const { readFileSync } = await import('node:fs')
      const { setTimeout: sleep } = await import('node:timers/promises')
      native.becomeSubreaper()
      const pid = Number(execFileSync('/bin/sh', ['-c', 'sleep 300 > /dev/null 2>&1 & echo $!'], { encoding: 'utf8' }))
      const state = () => { try { return readFileSync('/proc/' + pid + '/stat', 'utf8').split(') ')[1][0] } catch { return '' } }
      const before = native.collect(pid)
      process.kill(pid, 'SIGKILL')
      while (state() !== 'Z') await sleep(5)
      const others = [-1, 0, 1, 1.5, NaN, process.pid].map((one) => native.collect(one))
      return [before, others, state(), native.collect(pid), state(), native.collect(pid)]`
    expect(inNode(code)).toEqual([false, Array(6).fill(false), 'Z', true, '', false])
  })

  it('makes a lease that goes through shells, Node and an emptied environment', async () => {
    const lease = native.makeLease(box.mark)
    expect(lease).toBeGreaterThanOrEqual(LOWEST_LEASE_FD)
    try {
      const inner = `require('child_process').spawn('env', ['-i', '/bin/sh', '-c', 'setsid sleep 300; : ${box.mark}'], { stdio: 'ignore' })`
      box.node(inner)
      await until(() =>
        box.inArguments().some((pid) => childrenOf(pid).some((one) => readCommand(one) === 'sleep 300')),
      )
      const shell = box.inArguments().find((pid) => childrenOf(pid).length > 0)!
      const target = `/memfd:harrow-${box.mark} (deleted)`
      expect(readlinkSync(`/proc/${childrenOf(shell)[0]}/fd/${lease}`)).toBe(target)
    } finally {
      closeSync(lease!)
    }
  })

  it('ends a process when its parent is killed, also in a busy loop', async () => {
    const child = `import(${module}).then(({ loadNative }) => {
      if (loadNative().dieWithParent()) process.title = 'ready'
      for (;;) {}
    })`
    const parent = box.node(
      `require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(child)}], { stdio: 'ignore' }); setInterval(() => {}, 1000)`,
    )
    await until(() => childrenOf(parent).some((pid) => readCommand(pid)?.startsWith('ready')))
    const pid = childrenOf(parent)[0]!
    process.kill(parent, 'SIGKILL')
    await until(() => isDead(pid))
  })

  it('holds on to a process and signals no other', async () => {
    const pid = box.start('sleep', ['300'])
    const pidfd = native.pidfdOpen(pid)
    if (pidfd === undefined) return
    expect(native.pidfdSend(pidfd, 'SIGSTOP')).toBe(true)
    await until(() => stateOf(pid) === 'T')
    expect(native.pidfdSend(pidfd, 'SIGKILL')).toBe(true)
    await until(() => isDead(pid))
    await until(() => !native.pidfdSend(pidfd, 'SIGKILL'))
    closeSync(pidfd)
  })

  it('carries the signals of signalProcess', async () => {
    const pid = box.start('sleep', ['300'])
    const id = identify(pid)!
    const before = openPidfds()
    expect(signalProcess({ ...id, start: id.start + 1 }, 'SIGKILL')).toBe(false)
    expect(readStat(pid)?.state).not.toBe('Z')
    expect(signalProcess(id, 'SIGKILL')).toBe(true)
    await until(() => isDead(pid))
    expect(signalProcess(id, 'SIGKILL')).toBe(false)
    expect(openPidfds()).toBe(before)
  })
})

function openPidfds(): number {
  return openDescriptors(process.pid).filter((fd) => descriptorTarget(process.pid, fd)?.includes('pidfd')).length
}
