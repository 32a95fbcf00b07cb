import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { explainProcess, explainStuck, explainThread } from '../../src/inspect/kernel-wait.ts'
import { childrenOf } from '../../src/process/procfs.ts'
import { syscallName } from '../../src/process/syscalls.ts'
import { descendants } from '../../src/process/tree.ts'
import { Sandbox, stateOf, until } from '../process/sandbox.ts'

describe.skipIf(process.platform !== 'linux')('kernel wait', () => {
  let box: Sandbox
  beforeEach(() => {
    box = new Sandbox()
  })
  afterEach(() => box.end())

  const says = (pid: number, text: RegExp) => until(() => text.test(explainProcess(pid).join('\n')))

  it('names the child that execSync waits for, and what that child waits for', async () => {
    const pid = box.node(`require('child_process').execSync('sleep 77; true')`)
    await says(pid, /child \d+ `sleep 77`/)
    const [first] = await explainStuck(pid)
    expect(first).toMatch(
      /^main thread is inside spawnSync, execSync or execFileSync, waiting for child \d+ `\/bin\/sh -c sleep 77; true` \[it is blocked in wait4\(2\), waiting for child \d+ `sleep 77`/,
    )
    expect(first).toContain('stuck: unchanged after 100 ms')
  })

  it('tells who holds the output of a child that has ended', async () => {
    const pid = box.node(`require('child_process').execSync('sleep 78 &')`)
    await says(pid, /the child has ended, but (probably \d+ `sleep 78`|another process) still holds its output/)
  })

  it('tells that execSync in a worker thread waits, while the main thread is idle', async () => {
    const code = `require('child_process').execSync('sleep 79')`
    const pid = box.node(`new (require('worker_threads').Worker)(${JSON.stringify(code)}, { eval: true })`)
    await says(pid, /^thread .*probably inside spawnSync.*waiting for child \d+ `.*sleep 79`/m)
    expect(explainThread(pid, pid)).toMatch(/^main thread is idle in its event loop/)
  })

  it('names the FIFO that nobody opens at the other end', async () => {
    const fifo = box.fifo('queue')
    const reader = box.node(`require('fs').readFileSync(${JSON.stringify(fifo)})`)
    await says(
      reader,
      /blocked in open(at)?\(2\)(: usually a FIFO| of the FIFO .*queue, which nobody has open for writing)/,
    )
  })

  it('names the FIFO that is read from', async () => {
    const fifo = JSON.stringify(box.fifo('queue'))
    const pid = box.node(`const fs = require('fs'); fs.readSync(fs.openSync(${fifo}, 'r+'), Buffer.alloc(1))`)
    await says(pid, /blocked in read\(2\) on fd \d+ \(FIFO .*queue; (nobody has it open at|who holds) the other end/)
  })

  it('names the other end of a pipe', async () => {
    const pid = box.shell('sleep 80 | cat')
    await until(() => ['sleep 80', 'cat'].every((command) => descendants(pid).some((fact) => fact.command === command)))
    const cat = descendants(pid).find((fact) => fact.command === 'cat')!
    await says(cat.pid, /blocked in read\(2\) on fd 0 \(pipe; writer \d+ `sleep 80` is sleeping\)/)
  })

  it('tells a thread that waits for a lock', async () => {
    const pid = box.node(`Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)`)
    await says(pid, /^main thread is blocked in futex\(2\): it waits for a lock, a condition variable or Atomics\.wait/)
  })

  it('names the holder of a file lock', async () => {
    const lock = join(box.folder, 'lock')
    writeFileSync(lock, '')
    const holder = box.start('flock', [lock, 'sleep', '81'])
    await until(() => childrenOf(holder).length === 1)
    const pid = box.start('flock', [lock, 'true'])
    await says(pid, /blocked in flock\(2\) on fd \d+ \(.*lock\).*exclusive FLOCK lock held by \d+ `flock/)
  })

  it('does not call a busy loop stuck', async () => {
    const pid = box.node('for (;;);')
    await says(pid, /on the CPU/)
    const [first] = await explainStuck(pid)
    expect(first).toMatch(/^main thread is on the CPU/)
    expect(first).not.toContain('stuck')
  })

  it('tells a stopped process and a zombie', async () => {
    const stopped = box.shell('kill -STOP $$')
    await until(() => stateOf(stopped) === 'T')
    expect(explainThread(stopped)).toBe('main thread is stopped by a signal')
    const parent = box.shell('true & exec sleep 82')
    await until(() => stateOf(childrenOf(parent)[0] ?? 0) === 'Z')
    await says(childrenOf(parent)[0]!, /is a zombie: .* its parent \d+ `sleep 82` has not collected it/)
  })

  it('tells a threadpool that is used up', async () => {
    const code = `for (let i = 0; i < 4; i++) require('crypto').pbkdf2('a', 'b', 1e9, 32, 'sha256', () => {})`
    const pid = box.node(code)
    await says(pid, /threadpool is used up: all 4 libuv workers are busy/)
  })

  it('knows nothing of a process that does not exist', async () => {
    for (const pid of [0x7fff_ffff, -1, Number.NaN]) {
      expect(explainThread(pid)).toBeUndefined()
      expect(explainProcess(pid)).toEqual([])
      expect(await explainStuck(pid)).toEqual([])
    }
  })

  it('has system call numbers for x64 and arm64 and admits not to know others', () => {
    expect([syscallName(0, 'x64'), syscallName(63, 'arm64')]).toEqual(['read', 'read'])
    expect([syscallName(202, 'x64'), syscallName(98, 'arm64')]).toEqual(['futex', 'futex'])
    expect([syscallName(441, 'x64'), syscallName(441, 'arm64')]).toEqual(['epoll_pwait2', 'epoll_pwait2'])
    expect(syscallName(0, 'riscv64')).toBeUndefined()
  })
})
