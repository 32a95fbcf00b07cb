import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createHttpServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, test } from 'vitest'
import { withSession } from '../../src/inspect/drive.ts'
import { beginLook, lookAtHeld } from '../../src/inspect/held-objects.ts'
import { dumpSuspendedHere } from '../../src/inspect/look-at-heap.ts'
import { readStream } from '../../src/inspect/stream-state.ts'
import type { ChildFact, WaitFacts } from '../../src/inspect/wait-facts.ts'
import { until } from '../process/sandbox.ts'

const linux = process.platform === 'linux'
const started: ChildProcess[] = []
const closing: (() => void)[] = []

afterEach(() => {
  for (const child of started.splice(0)) {
    try {
      // Each is the leader of a group of its own.
      if (child.pid) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // It has ended, with all of its group.
    }
  }
  for (const close of closing.splice(0)) close()
})

function start(command: string, args: string[], options: SpawnOptions = {}): ChildProcess {
  const child = spawn(command, args, { timeout: 60_000, killSignal: 'SIGKILL', ...options, detached: true })
  started.push(child)
  return child
}

const node = (code: string, options?: SpawnOptions): ChildProcess => start(process.execPath, ['-e', code], options)

function look(): WaitFacts {
  return withSession((post) => lookAtHeld(post, []))
}

/** The facts of a child as soon as they are as they should be. */
async function childWhen(child: ChildProcess, ready: (fact: ChildFact) => boolean): Promise<ChildFact> {
  let fact: ChildFact | undefined
  await until(() => {
    fact = look().children.find(({ pid }) => pid === child.pid)
    return fact !== undefined && ready(fact)
  })
  return fact!
}

describe.skipIf(!linux)('a child process', () => {
  test('is seen to read its stdin', async () => {
    const child = start('cat', [])
    const fact = await childWhen(child, ({ users }) => users.some(({ does }) => does === 'read'))
    expect(fact.users[0]).toMatchObject({ pid: child.pid, part: 'stdin', does: 'read', command: 'cat' })
    expect(fact).toMatchObject({ command: 'cat', exitCode: null, signalCode: null, killed: false, connected: false })
  })

  test('is seen to read its stdin from an event loop', async () => {
    const child = node('process.stdin.resume()')
    const fact = await childWhen(child, ({ users }) => users.some(({ does }) => does === 'read'))
    expect(fact.users[0]).toMatchObject({ part: 'stdin', does: 'read' })
  })

  test('is seen to write to an output that nobody reads, by a blocking call and from an event loop', async () => {
    const writes = ({ users }: ChildFact): boolean => users.some(({ does }) => does === 'write')
    const blocking = await childWhen(start('head', ['-c', '9000000', '/dev/zero']), writes)
    expect(blocking.users[0]).toMatchObject({ part: 'stdout', does: 'write' })
    const waiting = await childWhen(node(`process.stderr.write('x'.repeat(9e6))`), writes)
    expect(waiting.users[0]).toMatchObject({ part: 'stderr', does: 'write' })
  })

  test('is told apart from the descendant that stands at its pipe', async () => {
    const child = start('sh', ['-c', 'head -c 9000000 /dev/zero; true'])
    const fact = await childWhen(child, ({ users }) => users.some(({ does }) => does === 'write'))
    expect(fact.users[0]).toMatchObject({ part: 'stdout', does: 'write', command: 'head -c 9000000 /dev/zero' })
    expect(fact.users[0]!.pid).not.toBe(child.pid)
  })

  test('that has ended shows who still holds its output', async () => {
    const child = start('sh', ['-c', 'sleep 61 & echo up'], { stdio: ['ignore', 'pipe', 'ignore'] })
    child.stdout!.resume()
    await once(child, 'exit')
    // Before it is `sleep`, it is the shell that was forked for that.
    const fact = await childWhen(child, ({ users }) => users.some(({ command }) => command === 'sleep 61'))
    expect(fact).toMatchObject({ exitCode: 0, kernel: null, stdio: [{ part: 'stdout' }] })
    expect(fact.users).toMatchObject([{ command: 'sleep 61', part: 'stdout', does: 'holds' }])
  })

  test('tells what it does with signals, and that it is stopped', async () => {
    const child = start('sh', ['-c', 'trap "" TERM; trap : HUP; echo up; sleep 61; true'])
    await once(child.stdout!, 'data')
    const fact = await childWhen(child, ({ kernel }) => kernel?.state === 'S')
    expect(fact.kernel!.ignored).toContain('SIGTERM')
    expect(fact.kernel!.caught).toContain('SIGHUP')
    child.kill('SIGSTOP')
    const stopped = await childWhen(child, ({ kernel }) => kernel?.state === 'T')
    expect(stopped).toMatchObject({ killed: true, kernel: { doing: expect.stringContaining('stopped') } })
    child.kill('SIGHUP')
    expect((await childWhen(child, ({ kernel }) => kernel!.pending.length > 0)).kernel!.pending).toEqual(['SIGHUP'])
  })

  test('shows its message channel', async () => {
    const child = node(`process.on('message', () => {}); process.send('up')`, {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    await once(child, 'message')
    expect(await childWhen(child, () => true)).toMatchObject({ connected: true })
  })

  test('is measured for the CPU that it uses between two looks', async () => {
    const child = node('for (;;) {}')
    await childWhen(child, ({ kernel }) => kernel?.state === 'R')
    const begun = beginLook()
    await until(() => {
      const { children } = withSession((post) => lookAtHeld(post, [], begun))
      return (children.find(({ pid }) => pid === child.pid)?.kernel?.cpuMs ?? 0) >= 20
    })
  })

  test('is no longer listed when it has ended and nobody holds its pipes', async () => {
    const child = start('true', [], { stdio: 'ignore' })
    await once(child, 'close')
    expect(look().children.map(({ pid }) => pid)).not.toContain(child.pid)
  })
})

describe('the owner of an awaited promise', () => {
  /** What is told of the objects that the function with this name waits for. */
  async function heldBy(fn: string): Promise<WaitFacts> {
    // `once` is an async function: what it answers with follows its promise some jobs later.
    await new Promise(setImmediate)
    let facts: WaitFacts | undefined
    const begun = beginLook()
    dumpSuspendedHere({ isUser: (url) => url.includes('held-objects.test') }, ({ suspended }, post) => {
      const ids = suspended.filter((one) => one.fn === fn).flatMap((one) => one.heldBy.flatMap(({ id }) => id ?? []))
      facts = lookAtHeld(post, ids, begun)
    })
    return facts!
  }

  test('is found again by its heap id: a stream with its state', async () => {
    const stream = new PassThrough({ highWaterMark: 10 })
    stream.write('x'.repeat(20))
    async function waitsForDrain(): Promise<void> {
      await once(stream, 'drain')
    }
    const waiting = waitsForDrain()
    const [object] = (await heldBy('waitsForDrain')).objects
    expect(object).toMatchObject({
      name: 'PassThrough',
      stream: { readable: { length: 20, flowing: null }, writable: { needDrain: true, ended: false } },
    })
    stream.resume()
    await waiting
  })

  test('may be a response that its client does not read', async () => {
    let held: ServerResponse | undefined
    const server = createHttpServer((_request, response) => {
      held = response
      // More than the system keeps for a connection.
      response.write(Buffer.alloc(64_000_000))
    }).listen(0, '127.0.0.1')
    closing.push(
      () => server.closeAllConnections(),
      () => void server.close(),
    )
    await once(server, 'listening')
    const request = get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    async function waitsForDrain(): Promise<void> {
      await once(held!, 'drain')
    }
    const waiting = waitsForDrain()
    const [object] = (await heldBy('waitsForDrain')).objects
    expect(object).toMatchObject({ name: 'ServerResponse', stream: { writable: { needDrain: true, ended: false } } })
    expect(object?.stream?.writable?.length).toBeGreaterThan(0)
    response.resume()
    await waiting
    // It takes what it is given: there is nothing to tell.
    expect(readStream(held)).toBeUndefined()
  })

  test('may be a child, or a part of its stdio', async () => {
    const child = start('cat', [])
    async function waitsForExit(): Promise<void> {
      await once(child, 'exit')
    }
    async function waitsForOutput(): Promise<void> {
      await once(child.stdout!, 'end')
    }
    const waiting = [waitsForExit(), waitsForOutput()]
    expect((await heldBy('waitsForExit')).objects[0]?.child).toEqual({ pid: child.pid })
    expect((await heldBy('waitsForOutput')).objects[0]?.child).toEqual({ pid: child.pid, part: 'stdout' })
    child.stdout!.resume()
    child.stdin!.end()
    await Promise.all(waiting)
  })

  test('may be a server, whose port stays known while somebody is connected', async () => {
    const server = createServer((socket) => {
      closing.push(() => socket.destroy())
    })
    const { client, port } = await connected(server)
    async function waitsForClose(): Promise<void> {
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
    const waiting = waitsForClose()
    const { objects, sockets } = await heldBy('waitsForClose')
    expect(objects[0]?.server).toMatchObject({ port, listening: false })
    expect(sockets).toContainEqual(expect.objectContaining({ remotePort: port, accepted: false }))
    expect(sockets).toContainEqual(expect.objectContaining({ localPort: port, accepted: true }))
    client.destroy()
    for (const close of closing.splice(0)) close()
    await waiting
  })

  test('leaves nothing behind on the global object', async () => {
    const before = Object.getOwnPropertySymbols(globalThis)
    await heldBy('nobody')
    expect(Object.getOwnPropertySymbols(globalThis)).toEqual(before)
  })
})

async function connected(server: Server): Promise<{ client: Socket; port: number }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const accepted = once(server, 'connection')
  const client = connect(port, '127.0.0.1')
  closing.push(() => client.destroy())
  await Promise.all([accepted, once(client, 'connect')])
  return { client, port }
}
