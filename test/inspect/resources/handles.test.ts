import { type ChildProcess, spawn } from 'node:child_process'
import dgram from 'node:dgram'
import { once } from 'node:events'
import fs, { mkdtempSync, openSync as namedOpenSync, rmSync } from 'node:fs'
import { open as namedOpen } from 'node:fs/promises'
import http from 'node:http'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import timers from 'node:timers'
import timersPromises from 'node:timers/promises'
import tls from 'node:tls'
import { promisify } from 'node:util'
import workerThreads, { MessageChannel as NamedChannel, Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { readCallSites } from '../../../src/inspect/call-sites.ts'
import { type HandleEntry, type HandleRegistry, installHandles } from '../../../src/inspect/resources/handles.ts'
import { until } from '../../process/sandbox.ts'

/** Line of the caller in the code that runs, which is what a stack tells. */
const here = (): number => readCallSites(1, here)[0]!.at!.line

const FILE = 'handles.test.ts'
const userLines = ({ handle }: HandleEntry): (number | undefined)[] =>
  handle.created.filter(({ at }) => at?.url.endsWith(FILE)).map(({ at }) => at?.line)
const userLine = (entry: HandleEntry): number | undefined => userLines(entry)[0]

/** A handle that a test made: the line, and how it is closed. */
interface Made {
  line: number
  close(): unknown
}

let folder: string
let registry: HandleRegistry
let scope: unknown
const cleanup: (() => unknown)[] = []

const listed = () => registry.live({ since: mark })
const shown = () => listed().map(({ handle }) => `${handle.kind} ${handle.what}`)
let mark: number

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'harrow-test-'))
  scope = 'here'
  registry = installHandles({ scope: () => scope, isUser: (url) => url.endsWith(FILE) })
  mark = registry.mark()
})
afterEach(async () => {
  vi.useRealTimers()
  registry.close()
  for (const undo of cleanup.splice(0).reverse()) await undo()
  rmSync(folder, { recursive: true, force: true })
})

/** Runs at the end of the test, also when it fails. */
function after(undo: () => unknown): void {
  cleanup.push(undo)
}

async function server(): Promise<net.Server> {
  const made = net.createServer()
  const sockets = new Set<net.Socket>()
  made.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
  after(() => {
    for (const socket of sockets) socket.destroy()
    made.close()
  })
  made.listen(0, '127.0.0.1')
  await once(made, 'listening')
  return made
}

const portOf = (made: net.Server): number => (made.address() as AddressInfo).port
const closed = (made: net.Server): Promise<unknown> => new Promise((done) => made.close(done))

const kinds: Record<string, { what: RegExp; make(): Made | Promise<Made> }> = {
  Timeout: {
    what: /^in 90000 ms$/,
    make() {
      const [timer, line] = [setTimeout(() => {}, 90_000), here()]
      return { line, close: () => clearTimeout(timer) }
    },
  },
  Interval: {
    what: /^every 40 ms$/,
    make() {
      const [timer, line] = [timers.setInterval(() => {}, 40), here()]
      return { line, close: () => clearInterval(timer) }
    },
  },
  Server: {
    what: /^127\.0\.0\.1:\d+$/,
    async make() {
      const made = http.createServer()
      const [, line] = [made.listen(0, '127.0.0.1'), here()]
      await once(made, 'listening')
      return { line, close: () => closed(made) }
    },
  },
  UnixServer: {
    what: /\/s\.sock$/,
    async make() {
      const made = net.createServer()
      const [, line] = [made.listen(join(folder, 's.sock')), here()]
      await once(made, 'listening')
      return { line, close: () => closed(made) }
    },
  },
  UdpSocket: {
    what: /^127\.0\.0\.1:\d+$/,
    async make() {
      const made = dgram.createSocket('udp4')
      const [, line] = [made.bind(0, '127.0.0.1'), here()]
      await once(made, 'listening')
      return { line, close: () => made.close() }
    },
  },
  FSWatcher: {
    what: /harrow-test-/,
    make() {
      const [made, line] = [fs.watch(folder), here()]
      return { line, close: () => made.close() }
    },
  },
  'FSWatcher of a tree': {
    what: /harrow-test-/,
    make() {
      fs.mkdirSync(join(folder, 'a/b'), { recursive: true })
      const [made, line] = [fs.watch(folder, { recursive: true }), here()]
      return { line, close: () => made.close() }
    },
  },
  StatWatcher: {
    what: /harrow-test-/,
    make() {
      const [, line] = [fs.watchFile(folder, () => {}), here()]
      return { line, close: () => fs.unwatchFile(folder) }
    },
  },
  'Worker with code': {
    what: /^eval$/,
    make() {
      const [made, line] = [new Worker('setInterval(() => {}, 1000)', { eval: true }), here()]
      return { line, close: () => made.terminate() }
    },
  },
  'Worker with a file': {
    what: /idle\.mjs$/,
    make() {
      const file = join(folder, 'idle.mjs')
      fs.writeFileSync(file, 'setInterval(() => {}, 1000)')
      class Special extends workerThreads.Worker {}
      const [made, line] = [new Special(file), here()]
      expect(made).toBeInstanceOf(Special)
      expect(made).toBeInstanceOf(Worker)
      return { line, close: () => made.terminate() }
    },
  },
  MessagePort: {
    what: /^$/,
    make() {
      const [{ port1 }, line] = [new NamedChannel(), here()]
      port1.on('message', () => {})
      return { line, close: () => port1.close() }
    },
  },
  BroadcastChannel: {
    what: /^news$/,
    make() {
      const [made, line] = [new BroadcastChannel('news'), here()]
      return { line, close: () => made.close() }
    },
  },
  ChildProcess: {
    what: /^\d+ `sleep 100`$/,
    make() {
      const [made, line] = [spawn('sleep', ['100']), here()]
      return { line, close: () => ended(made) }
    },
  },
  'Pipe of a grandchild': {
    what: /^stdout of \d+ `sh -c sleep 100 & echo \$!`, which has ended$/,
    async make() {
      const shell = (script: string) => spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] })
      const [made, line] = [shell('sleep 100 & echo $!'), here()]
      const [[pid]] = await Promise.all([once(made.stdout, 'data'), once(made, 'exit')])
      const close = async () => {
        process.kill(Number(String(pid)))
        await until(() => made.stdout.destroyed)
      }
      return { line, close }
    },
  },
  FileHandle: {
    what: /\/fh$/,
    async make() {
      const [made, line] = [await namedOpen(join(folder, 'fh'), 'w'), here()]
      return { line, close: () => made.close() }
    },
  },
  Descriptor: {
    what: /^fd \d+ \(.*\/fd\)$/,
    make() {
      const [fd, line] = [namedOpenSync(join(folder, 'fd'), 'w'), here()]
      return { line, close: () => fs.closeSync(fd) }
    },
  },
  'Descriptor with a callback': {
    what: /^fd \d+ \(.*\/fd\)$/,
    async make() {
      const [opened, line] = [promisify(fs.open)(join(folder, 'fd'), 'w'), here()]
      const fd = await opened
      return { line, close: () => promisify(fs.close)(fd) }
    },
  },
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'close')
  child.kill('SIGKILL')
  await exit
}

describe.skipIf(process.platform === 'win32')('live handles', () => {
  it.for(Object.entries(kinds))('lists a %s with its line while it is open, and not after', async ([name, row]) => {
    const made = await row.make()
    after(made.close)
    const before = registry.size
    const entries = listed()
    expect(entries.map(({ handle }) => handle.kind)).toEqual([name.split(' ')[0]])
    const [entry] = entries
    expect(entry!.handle.what).toMatch(row.what)
    // The class of a user's own kind of worker comes before the line that makes one.
    expect(userLines(entry!).slice(0, 2)).toContain(made.line)
    expect(entry).toMatchObject({ scope: 'here', user: true })
    expect(entry!.handle.ageMs).toBeGreaterThanOrEqual(0)
    await cleanup.pop()!()
    await until(() => listed().length === 0)
    expect(shown()).toEqual([])
    expect(registry.size).toBeLessThan(before)
  })

  it.for(['Socket', 'UnixSocket'])('lists a %s that was connected, not the end that the server has', async (kind) => {
    const path = join(folder, 'u.sock')
    const made = kind === 'Socket' ? await server() : net.createServer((socket) => socket.unref()).listen(path)
    if (kind === 'UnixSocket') after(() => made.close())
    if (!made.listening) await once(made, 'listening')
    const before = registry.mark()
    const [socket, line] = [net.connect(kind === 'Socket' ? { port: portOf(made) } : { path }), here()]
    after(() => socket.destroy())
    await Promise.all([once(socket, 'connect'), once(made, 'connection')])
    made.close()
    const entries = registry.live({ since: before })
    expect(entries.map(({ handle }) => handle.kind)).toEqual([kind])
    expect(entries[0]!.handle.what).toBe(kind === 'Socket' ? `127.0.0.1:${socket.remotePort}` : path)
    expect(userLine(entries[0]!)).toBe(line)
    socket.destroy()
    await until(() => registry.live({ since: before }).length === 0)
  })

  it('lists what a closed server accepted when the other end is elsewhere, with the line of listen', async () => {
    const made = net.createServer()
    const [, line] = [made.listen(0, '127.0.0.1'), here()]
    await once(made, 'listening')
    after(() => made.close())
    const code = `require('node:net').connect(${portOf(made)}, '127.0.0.1')`
    const client = spawn(process.execPath, ['-e', code], { stdio: 'ignore' })
    after(() => ended(client))
    const [socket] = (await once(made, 'connection')) as [net.Socket]
    after(() => socket.destroy())
    const sockets = () => listed().filter(({ handle }) => handle.kind !== 'ChildProcess')
    expect(sockets().map(({ handle }) => handle.kind)).toEqual(['Server'])
    made.close()
    const entries = sockets()
    expect(entries.map(({ handle }) => handle.kind)).toEqual(['Socket'])
    expect(userLine(entries[0]!)).toBe(line)
    socket.on('error', () => {})
    client.kill('SIGKILL')
    await until(() => listed().length === 0)
  })

  it('leaves out what does not hold the process, unless asked', async () => {
    const made = await server()
    const channel = new BroadcastChannel('quiet')
    const child = spawn('sleep', ['100'], { stdio: 'ignore' })
    after(() => ended(child))
    const worker = new Worker('setInterval(() => {}, 1000)', { eval: true })
    after(() => worker.terminate())
    after(() => channel.close())
    const watcher = fs.watch(folder)
    after(() => watcher.close())
    const things = [made, channel, worker, watcher, setTimeout(() => {}, 50_000), setInterval(() => {}, 50_000)]
    for (const thing of things) (thing as { unref(): void }).unref()
    for (const timer of things.slice(4)) after(() => clearTimeout(timer as NodeJS.Timeout))
    expect(listed().map(({ handle }) => handle.kind)).toEqual(['ChildProcess'])
    const all = registry.live({ since: mark, unref: true })
    expect(all.filter(({ handle }) => !handle.ref).map(({ handle }) => handle.kind)).toEqual([
      'Server',
      'BroadcastChannel',
      'Worker',
      'FSWatcher',
      'Timeout',
      'Interval',
    ])
  })

  it('lists an interval of timers/promises from its first value until its loop is left or its signal aborted', async () => {
    const stop = new AbortController()
    const values = timersPromises.setInterval(50_000, null, { signal: stop.signal })
    const line = here() - 1
    expect(shown()).toEqual([])
    const first = values[Symbol.asyncIterator]().next()
    expect(shown()).toEqual(['Interval every 50000 ms, until its loop is left or its signal aborted'])
    expect(listed().map(userLine)).toEqual([line])
    let n = 0
    for await (const value of timersPromises.setInterval(1, 'x')) {
      expect([value, shown().length]).toEqual(['x', 2])
      if (++n === 2) break
    }
    expect(shown()).toHaveLength(1)
    stop.abort()
    await expect(first).rejects.toThrow('aborted')
    expect(shown()).toEqual([])
    for await (const _ of timersPromises.setInterval(1, null, { ref: false })) {
      expect(shown()).toEqual([])
      break
    }
  })

  it('lists nothing after a fetch from a server that is closed, a child that ended, and timers that fired', async () => {
    const made = http.createServer((_, response) => response.end('hi'))
    made.listen(0, '127.0.0.1')
    await once(made, 'listening')
    after(() => made.close())
    const response = await fetch(`http://127.0.0.1:${portOf(made)}/`)
    expect(await response.text()).toBe('hi')
    await closed(made)
    await once(spawn('true'), 'close')
    await new Promise((done) => setTimeout(done, 1))
    await promisify(setTimeout)(1)
    clearTimeout(setTimeout(() => {}, 50_000))
    fs.readFileSync(import.meta.filename)
    await fs.promises.readFile(import.meta.filename)
    for await (const _ of fs.createReadStream(import.meta.filename)) void _
    expect(shown()).toEqual([])
  })

  it('does not list the idle connection of a keep-alive agent, but the request that waits', async () => {
    const made = http.createServer((request, response) => {
      if (request.url === '/') response.end('hi')
    })
    made.listen(0, '127.0.0.1')
    await once(made, 'listening')
    after(() => made.close())
    after(() => made.closeAllConnections())
    const agent = new http.Agent({ keepAlive: true })
    after(() => agent.destroy())
    const before = registry.mark()
    const get = (path: string) => http.get({ port: portOf(made), host: '127.0.0.1', path, agent })
    const [response] = (await once(get('/'), 'response')) as [http.IncomingMessage]
    await once(response.resume(), 'close')
    await until(() => registry.live({ since: before }).length === 0)
    const request = get('/never')
    request.on('error', () => {})
    await once(made, 'request')
    expect(registry.live({ since: before }).map(({ handle }) => handle.kind)).toEqual(['Socket'])
    request.destroy()
    await until(() => registry.live({ since: before }).length === 0)
  })

  it('lists a TLS connection while it holds the process', async () => {
    // A key that both know needs no certificate.
    const psk = Buffer.alloc(16, 7)
    const shared = { ciphers: 'PSK', maxVersion: 'TLSv1.2' } as const
    const made = tls.createServer({ ...shared, pskCallback: () => psk }, (socket) => socket.on('error', () => {}))
    made.listen(0)
    await once(made, 'listening')
    after(() => made.close())
    const before = registry.mark()
    const pskCallback = () => ({ psk, identity: 'test' })
    const options = { port: portOf(made), checkServerIdentity: () => undefined, pskCallback, ...shared }
    const [socket, line] = [tls.connect(options), here()]
    after(() => socket.destroy())
    await once(socket, 'secureConnect')
    const entries = registry.live({ since: before })
    expect(entries.map(({ handle }) => handle.kind)).toEqual(['Socket'])
    expect(userLine(entries[0]!)).toBe(line)
    socket.unref()
    expect(registry.live({ since: before })).toEqual([])
    socket.ref()
    socket.destroy()
    await until(() => registry.live({ since: before }).length === 0)
  })

  it('lists an HTTP/2 session as its socket', async () => {
    const made = http2.createServer()
    made.listen(0, '127.0.0.1')
    await once(made, 'listening')
    after(() => made.close())
    const before = registry.mark()
    const session = http2.connect(`http://127.0.0.1:${portOf(made)}`)
    after(() => session.destroy())
    await once(session, 'connect')
    expect(registry.live({ since: before }).map(({ handle }) => handle.kind)).toEqual(['Socket'])
    session.close()
    await until(() => registry.live({ since: before }).length === 0)
  })

  it('lists a fetch that waits for its answer as a socket', async () => {
    const made = http.createServer()
    made.listen(0, '127.0.0.1')
    await once(made, 'listening')
    after(() => made.close())
    after(() => made.closeAllConnections())
    const before = registry.mark()
    const abort = new AbortController()
    const answer = fetch(`http://127.0.0.1:${portOf(made)}/`, { signal: abort.signal }).catch(() => {})
    await once(made, 'request')
    expect(registry.live({ since: before }).map(({ handle }) => handle.kind)).toEqual(['Socket'])
    abort.abort()
    await answer
    await until(() => registry.live({ since: before }).length === 0)
  })

  it('does not list a server that could not listen', async () => {
    const first = await server()
    const second = net.createServer()
    const before = registry.mark()
    second.listen(portOf(first), '127.0.0.1')
    await once(second, 'error')
    expect(registry.live({ since: before })).toEqual([])
  })

  it('tells by marks and scopes what was made when', () => {
    const made = ['one', 'two', 'three'].map((name) => {
      scope = name
      const timer = setTimeout(() => {}, 60_000)
      after(() => clearTimeout(timer))
      return registry.mark()
    })
    expect(registry.live({ since: made[0], until: made[1] }).map((entry) => entry.scope)).toEqual(['two'])
    expect(listed().map((entry) => entry.scope)).toEqual(['one', 'two', 'three'])
    const ids = listed().map(({ handle }) => handle.id)
    expect(ids).toEqual(made)
  })

  it('survives a scope, an isUser and getters of the user that throw', async () => {
    registry.close()
    const broken = () => {
      throw new Error('broken')
    }
    registry = installHandles({ scope: broken, isUser: broken, redact: broken })
    const made = await server()
    const timer = setTimeout(() => {}, 60_000)
    after(() => clearTimeout(timer))
    Object.defineProperty(made, 'address', { get: broken, configurable: true })
    Object.defineProperty(timer, 'hasRef', { get: broken, configurable: true })
    expect(registry.live().map(({ handle, user }) => [handle.kind, handle.what, handle.ref, user])).toEqual([
      ['Unknown', '', true, false],
      ['Timeout', '', true, false],
    ])
    expect(registry.size).toBe(2)
    Reflect.deleteProperty(made, 'address')
  })

  it('neither uses nor disturbs prepareStackTrace and stackTraceLimit of the user', () => {
    const { prepareStackTrace, stackTraceLimit } = Error
    const calls: unknown[] = []
    const mine = (error: Error) => {
      calls.push(error)
      return 'mine'
    }
    try {
      Error.prepareStackTrace = mine
      Error.stackTraceLimit = 0
      const [timer, line] = [setTimeout(() => {}, 60_000), here()]
      after(() => clearTimeout(timer))
      expect(userLine(listed()[0]!)).toBe(line)
      expect([Error.prepareStackTrace, Error.stackTraceLimit]).toEqual([mine, 0])
      expect(calls).toEqual([])
    } finally {
      Object.assign(Error, { prepareStackTrace, stackTraceLimit })
    }
  })

  it('does not see the timers of a fake clock, nor is it seen by the clock', () => {
    vi.useFakeTimers()
    let fired = 0
    setTimeout(() => fired++, 1000)
    setInterval(() => fired++, 1000)
    expect(vi.getTimerCount()).toBe(2)
    expect(shown()).toEqual([])
    vi.advanceTimersByTime(1000)
    expect(fired).toBe(2)
    vi.useRealTimers()
    const timer = setTimeout(() => {}, 60_000)
    after(() => clearTimeout(timer))
    expect(shown()).toEqual(['Timeout in 60000 ms'])
  })

  it('gives back what the functions give back, with their looks', () => {
    const looks = () =>
      [setTimeout, setInterval, net.Socket.prototype.connect, fs.openSync, BroadcastChannel, Worker].map((fn) => [
        fn.name,
        fn.length,
        Reflect.ownKeys(fn),
      ])
    const during = looks()
    expect(timers.setTimeout).toBe(setTimeout)
    expect(workerThreads.BroadcastChannel).toBe(BroadcastChannel)
    registry.close()
    expect(during).toEqual(looks())
    expect(timers.setTimeout).toBe(setTimeout)
  })

  it('leaves a failure to open unhandled when nobody handles it, and throws what the calls throw', async () => {
    const missing = join(folder, 'none/x')
    await expect(fs.promises.open(missing)).rejects.toThrow(/ENOENT/)
    await expect(promisify(fs.open)(missing, 'r')).rejects.toThrow(/ENOENT/)
    expect(() => fs.openSync(missing, 'r')).toThrow(/ENOENT/)
    expect(() => setTimeout('text' as unknown as () => void)).toThrow(/ERR_INVALID_ARG_TYPE|must be/)
    const child = spawn(missing)
    await once(child, 'error')
    expect(shown()).toEqual([])
  })

  it('does not keep what was closed or collected: a thousand timers leave nothing', async () => {
    for (let index = 0; index < 5000; index++) clearTimeout(setTimeout(() => {}, 1000))
    expect(registry.size).toBe(registry.live({ unref: true }).length)
    expect(shown()).toEqual([])
  })

  it('lists all timers of a burst, at least the first thousand with their line', () => {
    const made = Array.from({ length: 3000 }, () => setTimeout(() => {}, 60_000))
    after(() => made.forEach(clearTimeout))
    const entries = listed()
    expect(entries).toHaveLength(3000)
    expect(entries.filter((entry) => userLine(entry) !== undefined).length).toBeGreaterThanOrEqual(999)
  })

  it('works beside another registry, and stops alone', () => {
    const second = installHandles({ scope: () => 2, isUser: () => true })
    try {
      const timer = setTimeout(() => {}, 60_000)
      after(() => clearTimeout(timer))
      expect(second.live().map((entry) => entry.scope)).toEqual([2])
      expect(shown()).toEqual(['Timeout in 60000 ms'])
      registry.close()
      const later = setTimeout(() => {}, 60_001)
      after(() => clearTimeout(later))
      expect(second.live()).toHaveLength(2)
      expect(listed()).toEqual([])
    } finally {
      second.close()
    }
  })
})
