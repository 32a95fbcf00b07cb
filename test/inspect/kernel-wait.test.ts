import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { explainProcess, explainStuck, explainThread } from '../../src/inspect/kernel-wait.ts'
import { childrenOf } from '../../src/process/procfs.ts'
import { syscallName } from '../../src/process/syscalls.ts'
import { descendants } from '../../src/process/tree.ts'
import { Sandbox, stateOf, until } from '../process/sandbox.ts'

/** A mount namespace of one's own, in which another resolv.conf can be put, and port 53, need root. */
function mayMount(): boolean {
  return spawnSync('unshare', ['--mount', 'mount', '--bind', '/dev/null', '/etc/resolv.conf']).status === 0
}

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

  it('tells what the threads of a used up pool are in, while the main thread is idle', async () => {
    const fifo = JSON.stringify(box.fifo('queue'))
    const pid = box.node(`for (let i = 0; i < 5; i++) require('fs').readFile(${fifo}, () => {})`)
    await says(
      pid,
      /all 4 libuv workers are busy \(4 in file system calls, of which one is blocked in open(at)?\(2\) of the FIFO .*queue, which nobody has open for writing/,
    )
    expect(explainThread(pid)).toMatch(/^main thread is idle in its event loop/)
  })

  it.skipIf(!mayMount())('names the DNS server that lookups wait for, and that further ones wait', async () => {
    const server = createSocket('udp4').bind(53, '127.0.0.97')
    await once(server, 'listening')
    try {
      const resolv = join(box.folder, 'resolv.conf')
      writeFileSync(resolv, 'nameserver 127.0.0.97\noptions timeout:30\n')
      const code = `for (const host of ['a', 'b', 'c']) require('dns').lookup(host + '.example', () => {})`
      const script = 'mount --bind "$0" /etc/resolv.conf && exec "$1" -e "$2"'
      const pid = box.start('unshare', ['--mount', 'sh', '-c', script, resolv, process.execPath, code])
      await says(
        pid,
        /share for name lookups is used up: 2 of \d libuv workers wait for the DNS server 127\.0\.0\.97:53, so further/,
      )
      await says(pid, /libuv-worker\) is blocked in .*, (?:probably in getaddrinfo|.*127\.0\.0\.97:53)/)
    } finally {
      server.close()
    }
  })

  it('tells that a full pipe waits for a reader who is stopped, and an empty one for its writer', async () => {
    const pid = box.shell('yes | (sleep 86; cat)')
    await until(() => ['yes', 'sleep 86'].every((command) => descendants(pid).some((fact) => fact.command === command)))
    const yes = descendants(pid).find((fact) => fact.command === 'yes')!
    await says(
      yes.pid,
      /blocked in write\(2\) on fd 1 \(pipe; reader .*\), which is full until its reader takes something/,
    )
    const reader = box.shell('sleep 87 | cat')
    await until(() => descendants(reader).some((fact) => fact.command === 'cat'))
    const cat = descendants(reader).find((fact) => fact.command === 'cat')!
    await says(cat.pid, /writer \d+ `sleep 87` is sleeping\), which is empty until its writer puts something in/)
  })

  it('tells that the child that execSync waits for is stopped', async () => {
    const pid = box.node(`require('child_process').execFileSync('/bin/sh', ['-c', 'kill -STOP $$'])`)
    await says(pid, /inside spawnSync.*, waiting for child \d+ `\/bin\/sh .*` \[it is stopped by a signal\]/)
  })

  it('names the holder of a record lock', async () => {
    const lock = join(box.folder, 'records')
    writeFileSync(lock, '')
    const take = `use Fcntl; open(F, '+<', $ARGV[0]); my $l = pack('s s x4 q q l x4', F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLKW, $l); sleep 88`
    const holder = box.start('perl', ['-e', take, lock])
    await until(() => readFileSync('/proc/locks', 'latin1').includes(` ${holder} `))
    const pid = box.start('perl', ['-e', take, lock])
    await says(
      pid,
      new RegExp(
        `blocked in fcntl\\(2\\) on fd \\d+ \\(.*records\\), waiting for a record lock: waits for an exclusive POSIX lock held by ${holder} \`perl`,
      ),
    )
  })

  it('names the SQLite database that is locked, and who has locked it', async () => {
    const path = JSON.stringify(join(box.folder, 'shop.db'))
    const open = `const { DatabaseSync } = require('node:sqlite'); const db = new DatabaseSync(${path})`
    const flags = ['--experimental-sqlite', '--no-warnings', '-e']
    const make = `${open}; db.exec('CREATE TABLE t (x)'); db.exec('BEGIN EXCLUSIVE'); setInterval(() => {}, 60000)`
    const holder = box.start(process.execPath, [...flags, make])
    await until(() => readFileSync('/proc/locks', 'latin1').includes(` ${holder} `))
    const pid = box.start(process.execPath, [
      ...flags,
      `${open}; db.exec('PRAGMA busy_timeout = 60000'); db.exec('INSERT INTO t VALUES (1)')`,
    ])
    await says(
      pid,
      new RegExp(
        `blocked in clock_nanosleep\\(2\\): it sleeps for a set time between tries: the database .*shop\\.db is locked \\(POSIX WRITE\\) by ${holder} \``,
      ),
    )
    expect((await explainStuck(pid)).join('\n')).toContain('shop.db is locked')
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
