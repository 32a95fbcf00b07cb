import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from '../../scripts/dev/checkout.ts'
import { openNursery, SPAWN_METHODS, type SpawnMethod, setSpawnMethod } from '../../src/index.ts'
import { identify, isRunning } from '../../src/process/identity.ts'
import { childrenOf, readStat, threadsOf } from '../../src/process/procfs.ts'
import type { Backend, SpawnRequest } from '../../src/spawn/backend.ts'
import { entryPath } from '../../src/spawn/entry-path.ts'
import { childExecArgv, childNodeOptions } from '../../src/spawn/exec-argv.ts'
import { formatExit } from '../../src/spawn/exit.ts'
import { backendFor, checkBackend, resolveSpawnMethod } from '../../src/spawn/registry.ts'
import { ExitLatch } from '../../src/spawn/waiting.ts'
import { parseAddress } from '../../src/wire/address.ts'
import { Encoder } from '../../src/wire/codec.ts'
import { acceptPeer } from '../../src/wire/handshake.ts'
import { listen } from '../../src/wire/listener.ts'
import { type Message, Msg, PROTOCOL } from '../../src/wire/messages.ts'
import { unpackError } from '../../src/wire/remote-error.ts'
import { BACKENDS, eventually, failure, gone, inFolder, known, RUDE, TALLY, tree } from '../actor/world.ts'
import type * as Rude from '../fixtures/actors/rude.ts'
import type * as Tally from '../fixtures/actors/tally.ts'
import { filesBelow, read } from '../source.ts'

const BUILT: readonly SpawnMethod[] = BACKENDS.length > 1 ? BACKENDS : ['spawn', 'fork', 'thread']

describe('the registry', () => {
  test('R-601 R-602 every backend that is built has one interface', async () => {
    for (const method of BUILT) {
      const backend = await backendFor(method)
      expect(backend.method).toBe(method)
      expect(Object.keys(backend).sort()).toEqual(
        ['available', 'checkOptions', 'dialsBack', 'method', 'ownProcess', 'selfTest', 'spawn'].sort(),
      )
    }
    const members = [
      'id',
      'pid',
      'threadId',
      'link',
      'wait',
      'poll',
      'interrupt',
      'terminate',
      'kill',
      'abandon',
      'subtree',
      'outputTail',
      'describe',
    ]
    for (const method of BUILT) {
      const handle = (await backendFor(method)).spawn(request('idle'))
      for (const member of members) expect(member in handle, `${method}.${member}`).toBe(true)
      await handle.kill(2000)
      expect(handle.poll()).toBeDefined()
      handle.link?.destroy()
    }
  })

  test('R-603 an unknown name lists the valid ones, and a seed name the one that is meant', async () => {
    const error = await failure(backendFor('subint'))
    expect(error.code).toBe('HARROW_BACKEND')
    expect(error.message).toContain('is "thread" here')
    for (const method of SPAWN_METHODS) expect(error.message).toContain(method)
  })

  test('R-604 R-830 a backend that is not able, or does not work, is refused with all that helps', async () => {
    const stub =
      (changes: Partial<Backend>): (() => Promise<Backend>) =>
      async () => ({
        method: 'vm',
        ownProcess: false,
        dialsBack: false,
        available: () => true,
        selfTest: async () => true,
        checkOptions: (options) => options,
        spawn: () => {
          throw new Error('not called')
        },
        ...changes,
      })
    const error = await failure(checkBackend('vm', stub({ selfTest: async () => 'the module gave 8' })))
    expect(error.message).toContain('the module gave 8')
    expect(error.message).toContain(process.version)
    expect(error.message).toContain('"spawn" works everywhere')
    const wedged = await failure(checkBackend('vm', stub({ selfTest: () => Promise.reject(new Error('it broke')) })))
    expect(wedged.message).toContain('it broke')
  })

  test.each(['thread_fork', 'zygote_threads'])('R-608 R-640 %s is reserved, and says what works', async (method) => {
    const error = await failure(backendFor(method))
    expect(error).toMatchObject({ name: 'NotImplementedSpawnMethodError' })
    expect(error.message).toMatch(/docs\/backends\/[\w.]+/)
    const [path = ''] = /docs\/backends\/[\w]+\.md/.exec(error.message) ?? []
    expect(() => read(root, path)).not.toThrow()
  })

  test('R-606 R-609 the environment beats the caller, and a choice is given back', async () => {
    const before = process.env.HARROW_BACKEND
    try {
      process.env.HARROW_BACKEND = 'thread'
      expect(resolveSpawnMethod({ caller: 'thread' })).toBe('thread')
      process.env.HARROW_BACKEND = ''
      expect(resolveSpawnMethod({ caller: 'fork', inherited: 'thread' })).toBe('fork')
      expect(resolveSpawnMethod({ inherited: 'thread' })).toBe('thread')
      const earlier = await setSpawnMethod('fork')
      expect(resolveSpawnMethod()).toBe('fork')
      await setSpawnMethod(earlier)
      expect(resolveSpawnMethod()).toBe('spawn')
    } finally {
      if (before === undefined) delete process.env.HARROW_BACKEND
      else process.env.HARROW_BACKEND = before
    }
  })

  test('R-610 an option that no backend knows is refused', async () => {
    for (const method of BUILT) {
      const backend = await backendFor(method)
      expect(() => backend.checkOptions({ typo: 1 })).toThrow(/no option "typo". Valid options:/)
    }
    expect(() => backendForSync.checkOptions({ cwd: 7 })).toThrow(/"cwd".*expects a text, got 7/)
  })

  test('R-133 flags of the inspector and of test runners are ours alone', () => {
    const flags = [
      '--inspect=0',
      '--enable-source-maps',
      '--inspect-port',
      '9',
      '--test',
      '-e',
      'code',
      '--cpu-prof',
      '--cpu-prof-interval',
      '200',
      '--test-only',
      '--max-old-space-size=99',
    ]
    expect(childExecArgv(true, flags)).toEqual(['--enable-source-maps', '--max-old-space-size=99'])
    expect(childExecArgv(false, flags)).toEqual([])
    expect(childNodeOptions('--inspect-brk --no-warnings')).toBe('--no-warnings')
  })
})

const backendForSync = await backendFor('spawn')

function request(name: string, changes: Partial<SpawnRequest> = {}): SpawnRequest {
  return {
    aid: { name, uuid: `${name}-uuid` },
    parentAddr: 'unix:/nowhere/parent.sock',
    execArgv: [],
    env: { PATH: process.env.PATH ?? '', HARROW_LOGLEVEL: 'silent' },
    output: { mode: 'pipe', line: () => {} },
    options: {},
    ...changes,
  }
}

describe('handles', () => {
  test('R-660 R-662 the end is told to any number of waiters, and waiting can be given up', async () => {
    const latch = new ExitLatch()
    const waits = Array.from({ length: 1000 }, () => latch.wait())
    const before = threadsOf(process.pid).length
    const controller = new AbortController()
    const given = failure(latch.wait(controller.signal))
    controller.abort(new Error('no longer'))
    expect((await given).message).toBe('no longer')
    latch.settle({ code: null, signal: 'SIGABRT' })
    latch.settle({ code: 0, signal: null })
    expect(new Set(await Promise.all(waits)).size).toBe(1)
    expect(await latch.wait()).toBe(latch.poll())
    expect(threadsOf(process.pid).length).toBeLessThanOrEqual(before)
    expect(formatExit({ code: null, signal: 'SIGABRT' })).toBe('signal=SIGABRT')
    expect(formatExit({ code: 0, signal: null })).toBe('rc=0')
  })

  test('R-147 R-661 an actor that cannot reach its parent ends, and says so with its exit', async () => {
    const handle = (await backendFor('spawn')).spawn(request('lonely'))
    const exit = await handle.wait(AbortSignal.timeout(15_000))
    expect(exit.code).toBe(1)
    expect(handle.describe()).toContain('spawn actor lonely, pid')
  })

  test('R-142 a program that is not there is the exit of its handle', async () => {
    const handle = (await backendFor('spawn')).spawn(request('none', { options: { execPath: '/no/such' } }))
    expect(await handle.wait()).toMatchObject({ code: null, error: { code: 'ENOENT' } })
    expect(handle.pid).toBe(undefined)
    expect(await handle.kill(100)).toMatchObject({ gone: true })
  })

  test('R-009 the end of an actor does not wait for whoever holds its pipes', async () => {
    await tree('spawn', async () => {
      let holder: number | undefined
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE, output: 'pipe' })
        holder = await portal.call('startHolder', 20)
        await portal.cancelActor()
      })
      const held = known(holder as number)
      expect(gone(held)).toBe(false)
      process.kill(held.pid, 'SIGKILL')
    })
  })

  test('R-010 R-832 a zombie is dead, although it answers to signal 0', async () => {
    const shell = spawn('sh', ['-c', 'sleep 0.05 & exec sleep 20'], { stdio: 'ignore' })
    try {
      await eventually('its child is there', () => childrenOf(shell.pid as number).length > 0)
      const [pid = 0] = childrenOf(shell.pid as number)
      const identity = known(pid)
      await eventually('it is a zombie', () => readStat(pid)?.state === 'Z')
      expect(() => process.kill(pid, 0)).not.toThrow()
      expect(isRunning(identity)).toBe(false)
    } finally {
      shell.kill('SIGKILL')
      await once(shell, 'exit')
    }
  })

  test('R-011 an actor listens to no signal that would keep a loop from being ended', async () => {
    await tree('spawn', async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        expect(await portal.call('listeners')).toEqual({ SIGQUIT: 0, SIGTERM: 0, SIGINT: 1 })
        expect(process.listenerCount('SIGQUIT')).toBe(0)
        await portal.cancelActor()
      })
    })
  })

  test('R-627 a thread that turns is told from one that does not', async () => {
    await tree('thread', async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('turning', { module: TALLY })
        const handle = [...an.children.values()][0]?.handle
        await eventually('it has beaten', () => handle?.describe().includes('has turned'))
        expect(handle?.describe()).toMatch(/thread actor turning, thread \d+, its event loop has turned \d+ times/)
        await portal.cancelActor()
      })
    })
  })

  test('R-817 the runtime makes no synchronous call of a program', () => {
    const wrong = ['src/actor', 'src/spawn', 'src/wire', 'src/scope'].flatMap((folder) =>
      filesBelow(root, folder, '.ts').filter((file) => /(execSync|spawnSync|execFileSync)\(/.test(read(root, file))),
    )
    expect(wrong).toEqual([])
  })
})

describe('the protocol of a child', () => {
  /** A child whose parent is this test. */
  async function fakeParent(
    first: Message | Uint8Array,
    then: (messages: Message[], exit: Promise<unknown[]>, pid: number) => Promise<void>,
  ): Promise<void> {
    await inFolder(async (folder) => {
      const linked = Promise.withResolvers<Message[]>()
      const listener = await listen(parseAddress(`unix:${folder}/p.sock`), {
        onTransport: async (transport) => {
          const { channel } = await acceptPeer(transport, {
            self: { name: 'test', uuid: 't' },
            registrar: false,
            limitMs: 9000,
          })
          const messages: Message[] = []
          channel.start(
            (message) => messages.push(message),
            () => {},
          )
          if (first instanceof Uint8Array) transport.send([first])
          else channel.send(first)
          linked.resolve(messages)
        },
      })
      const child = spawn(
        process.execPath,
        [entryPath('spawn'), '--harrow-actor=odd@u', `--harrow-parent=unix:${folder}/p.sock`],
        {
          stdio: 'ignore',
          env: { ...process.env, HARROW_LOGLEVEL: 'silent' },
        },
      )
      const exit = once(child, 'exit')
      try {
        await then(await linked.promise, exit, child.pid as number)
      } finally {
        child.kill('SIGKILL')
        await listener.close(0)
      }
    })
  }

  test('R-143 R-144 a first message that is no spec is told and ends the child', async () => {
    await fakeParent([Msg.start, 2, '', 'add', [1], 'func', null], async (messages, exit) => {
      expect((await exit)[0]).toBe(1)
      const error = messages.find(([type]) => type === Msg.error)
      expect(error?.[1]).toBe(0)
      expect(unpackError(error?.[2 as never], ['t', 't'])).toMatchObject({ boxedTypeName: 'InternalError' })
    })
  })

  test('R-143 bytes that are no message, for longer than is forgiven, end the child', async () => {
    const frame = Buffer.from([3, 0, 0, 0, 0, 0xc1, 0xc1])
    await fakeParent(Buffer.concat([frame, frame, frame, frame, frame]), async (_, exit) => {
      expect((await exit)[0]).toBe(1)
    })
  })

  test('R-221 R-821 R-206 a peer that never closes, and a flood, do not keep an actor', async () => {
    await tree('spawn', async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        await eventually('it is registered', () => root.registry?.get(portal.aid.uuid))
        const [address = ''] = root.registry?.get(portal.aid.uuid)?.addrs ?? []
        const socket = connect({ path: address.replace('unix:', ''), allowHalfOpen: true })
        socket.on('error', () => {})
        await once(socket, 'connect')
        socket.write(
          Buffer.concat(
            new Encoder().encode([Msg.hello, PROTOCOL, { name: 'leech', uuid: 'l' }, 'peer', false, null, null]),
          ),
        )
        await once(socket, 'data')
        for (let i = 0; i < 2000; i++) void portal.call('echo', { n: i }).catch(() => {})
        expect(await portal.cancelActor({ timeoutMs: 5000 })).toBe(true)
        await eventually('it has ended', () => an.size === 0)
        socket.destroy()
      })
    })
  })

  test('R-815 connections that end at any step cost no CPU afterwards', async () => {
    await tree('spawn', async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        await eventually('it is registered', () => root.registry?.get(portal.aid.uuid))
        const [address = ''] = root.registry?.get(portal.aid.uuid)?.addrs ?? []
        const hello = Buffer.concat(
          new Encoder().encode([Msg.hello, PROTOCOL, { name: 'x', uuid: 'x' }, 'peer', false, null, null]),
        )
        for (const part of [0, 2, 5, hello.length - 1, hello.length]) {
          const socket = connect(address.replace('unix:', ''))
          socket.on('error', () => {})
          await once(socket, 'connect')
          socket.write(hello.subarray(0, part))
          socket.end()
          socket.resume()
          await once(socket, 'close')
        }
        const { pid } = await portal.call('whoAmI')
        const spent = (): number => {
          const stat = readStat(pid)
          return (stat?.utime ?? 0) + (stat?.stime ?? 0)
        }
        const before = spent()
        const lag = performance.now()
        await eventually('half a second has passed', () => performance.now() - lag > 500)
        // A tick is 10 ms: a loop that spins takes 50 of them.
        expect(spent() - before).toBeLessThan(25)
        await portal.cancelActor()
      })
    })
  })

  test('R-222 a registrar that is gone keeps nobody', async () => {
    await inFolder(async (folder) => {
      const program = new URL('../fixtures/actors/programs/one-root.ts', import.meta.url).pathname
      const address = `unix:${folder}/gone.sock`
      const registrar = spawn(process.execPath, [program, address, '60000'], { stdio: ['ignore', 'pipe', 'ignore'] })
      try {
        await once(registrar.stdout, 'data')
        await tree(
          'spawn',
          async (joined) => {
            expect(joined.registry).toBe(undefined)
            registrar.kill('SIGKILL')
            await once(registrar, 'exit')
          },
          { registryAddrs: [address] },
        )
      } finally {
        registrar.kill('SIGKILL')
      }
      expect(identify(registrar.pid as number)).toBe(undefined)
    })
  })

  test('R-621 R-730 R-665 a child goes through its life in order, and is asked first; also without native parts', async () => {
    await inFolder(async (folder) => {
      const program = new URL('../fixtures/actors/programs/one-call.ts', import.meta.url).pathname
      // Both in one file: of two pipes either may be read first.
      const file = join(folder, 'out')
      const both = openSync(file, 'a', 0o600)
      const child = spawn(process.execPath, [program, `unix:${folder}/r.sock`, 'spawn', 'well'], {
        stdio: ['ignore', both, both],
        env: { ...process.env, HARROW_LOGLEVEL: 'runtime', HARROW_BACKEND: '', HARROW_NATIVE: 'off' },
      })
      closeSync(both)
      const [code] = await once(child, 'close')
      const out = readFileSync(file, 'utf8')
      expect(code, out).toBe(0)
      const at = (words: string): number => out.indexOf(words)
      const order = ['tally (spawn, pid', 'RESULT=3', 'has ended: rc=0'].map(at)
      expect(
        order.every((place) => place >= 0),
        out,
      ).toBe(true)
      expect(order).toEqual(order.toSorted((a, b) => a - b))
      expect(out).not.toContain('SIGTERM')
      expect(out).not.toContain('SIGKILL')
    })
  })
})

describe('vm', () => {
  test('R-225 R-630 R-827 has its own globals, and an entry that does not end is interrupted', async () => {
    await inFolder(async (folder) => {
      const program = new URL('../fixtures/actors/programs/vm-tree.ts', import.meta.url).pathname
      const child = spawn(
        process.execPath,
        ['--experimental-vm-modules', '--no-warnings', program, `unix:${folder}/r.sock`],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { ...process.env, HARROW_BACKEND: '' },
        },
      )
      let out = ''
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          out += text
        })
      expect((await once(child, 'close'))[0], out).toBe(0)
      expect(out).toContain('ECHO={"a":1}')
      expect(out).toContain('GLOBAL=undefined')
      expect(out).toContain('BACKEND=vm')
      expect(out).toContain('LOOP=Script execution timed out')
      expect(out).toContain('AWAIT=')
      expect(out).toMatch(/AWAIT=.*was not evaluated within/)
    })
  })

  test('R-604 without its flag it is refused with what it needs', async () => {
    if (process.execArgv.includes('--experimental-vm-modules')) return
    expect((await failure(checkBackend('vm'))).message).toContain('--experimental-vm-modules')
  })
})

test('R-639 the dead end is documented', () => {
  expect(readFileSync(`${root}/docs/backends/thread_fork.md`, 'utf8')).toContain('fork(2)')
})
