import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs, { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { diff, isQuiet, type ResourceDelta, settle } from '../../../src/inspect/resources/delta.ts'
import { nameChanges, takeNames } from '../../../src/inspect/resources/names.ts'
import { openSnapshots, type ResourceSnapshot, type Snapshots } from '../../../src/inspect/resources/snapshot.ts'
import { until } from '../../process/sandbox.ts'

const LINUX = process.platform === 'linux'

let snapshots: Snapshots
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'harrow-test-'))
  snapshots = openSnapshots()
})
afterEach(async () => {
  vi.useRealTimers()
  snapshots.close()
  rmSync(folder, { recursive: true, force: true })
})

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** What a descriptor is; '' for that of the listing, which is closed. */
function linkOf(fd: string): string {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

/** What `run` changes, as far as a number of the snapshot tells. */
async function change(run: () => unknown): Promise<ResourceDelta> {
  const before = snapshots.take()
  await run()
  return diff(before, snapshots.take())
}

describe.runIf(LINUX)('a snapshot', () => {
  it('counts descriptors', async () => {
    const path = join(folder, 'file')
    fs.writeFileSync(path, '')
    const fds: number[] = []
    try {
      const opened = await change(() => {
        for (let count = 0; count < 3; count++) fds.push(fs.openSync(path, 'r'))
      })
      expect(opened.fds).toBe(3)
      expect(isQuiet(opened)).toBe(false)
    } finally {
      for (const fd of fds) fs.closeSync(fd)
    }
  })

  it('counts children of its thread, and sees them go', async () => {
    const children: ChildProcess[] = []
    const start = () => children.push(spawn('sleep', ['100'], { stdio: 'ignore' }))
    try {
      expect((await change(start)).children).toBe(1)
      expect((await change(start)).children).toBe(1)
      const before = snapshots.take().children!
      await end(children.pop()!)
      expect(snapshots.take().children).toBeLessThan(before)
    } finally {
      for (const child of children) await end(child)
    }
  })

  it('counts the children of a worker in the worker only', async () => {
    const file = new URL('../../../src/inspect/resources/snapshot.ts', import.meta.url).href
    const code = `
      const { parentPort } = require('node:worker_threads')
      const { spawn } = require('node:child_process')
      import(${JSON.stringify(file)}).then(({ openSnapshots }) => {
        const snapshots = openSnapshots()
        const before = snapshots.take().children
        const child = spawn('sleep', ['100'], { stdio: 'ignore' })
        const after = snapshots.take().children
        parentPort.postMessage([before, after])
        parentPort.once('message', () => child.kill('SIGKILL'))
      })`
    const before = snapshots.take().children!
    const worker = new Worker(code, { eval: true })
    try {
      const [counts] = await once(worker, 'message')
      expect(counts).toEqual([0, 1])
      // Less when the system has got rid of a child of an earlier test meanwhile.
      expect(snapshots.take().children).toBeLessThanOrEqual(before)
    } finally {
      const exit = once(worker, 'exit')
      worker.postMessage('end')
      await exit
    }
  })

  it('counts threads and tells when /dev/shm changed', async () => {
    const worker = new Worker('setInterval(() => {}, 1000)', { eval: true })
    const before = snapshots.take()
    try {
      await once(worker, 'online')
    } finally {
      await worker.terminate()
    }
    await until(() => snapshots.take().threads! < before.threads!)
    const path = `/dev/shm/harrow-test-${process.pid}-snapshot`
    expect((await change(() => fs.writeFileSync(path, 'x'))).shmChanged).toBe(true)
    fs.rmSync(path)
  })

  it('knows the resident memory as the system does', () => {
    const { rss } = snapshots.take()
    expect(rss! / process.memoryUsage.rss()).toBeGreaterThan(0.8)
    expect(rss! / process.memoryUsage.rss()).toBeLessThan(1.2)
  })

  it('goes on with nulls when somebody has closed its descriptors', () => {
    const kept = () => fs.readdirSync('/proc/self/fd').filter((fd) => /children$|statm$/.test(linkOf(fd)))
    const others = new Set(kept())
    const second = openSnapshots()
    for (const fd of kept()) if (!others.has(fd)) fs.closeSync(Number(fd))
    expect(second.take()).toMatchObject({ children: null, rss: null, fds: expect.any(Number) })
    expect(diff(snapshots.take(), second.take()).children).toBeNull()
    second.close()
  })
})

describe('a snapshot anywhere', () => {
  it('counts listeners on process, handles of a registry, and kinds on demand', async () => {
    const listener = () => {}
    const heard = await change(() => process.on('harrow-test', listener))
    process.off('harrow-test', listener)
    expect(heard.listeners).toBe(1)
    const counted = openSnapshots({ size: 7 })
    expect(counted.take().handles).toBe(7)
    counted.close()
    const broken = openSnapshots({
      get size(): number {
        throw new Error('broken')
      },
    })
    expect(broken.take().handles).toBeNull()
    broken.close()
    const server = net.createServer().listen(0)
    await once(server, 'listening')
    expect(snapshots.kinds().TCPServerWrap ?? snapshots.kinds().TCPSERVERWRAP).toBeGreaterThan(0)
    server.close()
  })

  it('is quiet when only memory and threads moved', () => {
    const before = snapshots.take()
    const after: ResourceSnapshot = { ...before, heapUsed: 1, external: 2, rss: 3, threads: 99, contexts: 4 }
    expect(isQuiet(diff(before, after))).toBe(true)
    expect(isQuiet(diff(before, { ...after, listeners: before.listeners + 1 }))).toBe(false)
  })
})

describe('settling', () => {
  it('ends as soon as it is quiet, also under a fake clock', async () => {
    vi.useFakeTimers()
    let asked = 0
    expect(await settle(() => ++asked === 4)).toBe(true)
    expect(asked).toBe(4)
  })

  it('gives up at its limit and says so', async () => {
    expect(await settle(() => false, { limitMs: 1 })).toBe(false)
  })
})

describe.runIf(LINUX)('names', () => {
  it('tell what came and what went', async () => {
    const path = join(folder, 'named')
    const socketPath = join(folder, 'n.sock')
    const shm = `/dev/shm/harrow-test-${process.pid}-names`
    const listener = () => {}
    const first = takeNames()
    const fd = fs.openSync(path, 'w')
    const server = net.createServer().listen(socketPath)
    const child = spawn('sleep', ['100'], { stdio: 'ignore' })
    try {
      fs.writeFileSync(shm, 'x')
      process.on('harrow-test', listener)
      await once(server, 'listening')
      // The child shows the command of its parent until it has become another program.
      await until(() => fs.readFileSync(`/proc/${child.pid}/cmdline`, 'utf8').startsWith('sleep'))
      const changes = nameChanges(first, takeNames())
      const came = (kind: string) => changes.filter((one) => one.kind === kind && one.appeared).map(({ name }) => name)
      expect(came('descriptors')).toEqual(
        expect.arrayContaining([`fd ${fd} (${path})`, expect.stringContaining(`unix socket ${socketPath}`)]),
      )
      expect(came('children')).toEqual([`${child.pid} \`sleep 100\``])
      expect(changes.find((one) => one.kind === 'children')!.pid).toBe(child.pid)
      expect(came('unixSockets')).toEqual([socketPath])
      expect(came('shm')).toContain(shm)
      expect(came('listeners')).toEqual(["1 for 'harrow-test'"])
    } finally {
      const second = takeNames()
      process.off('harrow-test', listener)
      fs.closeSync(fd)
      fs.rmSync(shm)
      server.close()
      await once(server, 'close')
      await end(child)
      const gone = nameChanges(second, takeNames()).filter((one) => !one.appeared)
      expect(new Set(gone.map(({ kind }) => kind))).toEqual(
        new Set(['descriptors', 'children', 'unixSockets', 'shm', 'listeners']),
      )
    }
  })
})
