import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { root } from '../../scripts/dev/checkout.ts'
import { type ActorNursery, openNursery } from '../../src/index.ts'
import type { ProcessIdentity } from '../../src/process/identity.ts'
import { childrenOf, readStat } from '../../src/process/procfs.ts'
import { commandOf } from '../../src/process/tree.ts'
import { endZygotes, zygoteFor } from '../../src/spawn/zygote/client.ts'
import { orderChild } from '../../src/spawn/zygote/order.ts'
import { backend } from '../../src/spawn/zygote/parent.ts'
import { BACKENDS, eventually, failure, gone, inFolder, known, moduleOf, NEST, tree } from '../actor/world.ts'
import type * as Born from '../fixtures/actors/born.ts'
import type * as Nest from '../fixtures/actors/nest.ts'
import { forksInARow } from './forks.ts'

const BORN = moduleOf('born')
const able = backend.available()
const zygoteOf = (pid: number): number => readStat(pid)?.ppid ?? 0
const isSpare = (pid: number): boolean => commandOf(pid) === 'harrow zygote (spare)'
const warm = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`

async function onZygote(
  body: (an: ActorNursery) => Promise<void>,
  spawnOpts: Record<string, unknown> = { fallback: false },
): Promise<void> {
  await tree('zygote', () => openNursery(body), { spawnOpts })
}

test('R-604 R-665 without native parts it is refused with what is missing, and nothing else breaks', async () => {
  const code = `const { backend } = await import(${JSON.stringify(`${root}/src/spawn/zygote/parent.ts`)})
    const { checkBackend } = await import(${JSON.stringify(`${root}/src/spawn/registry.ts`)})
    await checkBackend('zygote', async () => {
      const able = backend.available()
      return { ...backend, selfTest: async () => able }
    }).catch((error) => console.log(error.message))`
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', code], {
    env: { ...process.env, HARROW_NATIVE: 'off' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  expect((await once(child, 'close'))[0]).toBe(0)
  expect(out).toContain('HARROW_NATIVE=off')
  expect(out).toContain('"spawn" works everywhere')
})

/** Unless another backend alone is asked for. */
const isAsked = BACKENDS.length > 1 || BACKENDS.includes('zygote')

describe.skipIf(able !== true || !isAsked)('a zygote', () => {
  test('R-631 is one for a whole tree of depth 3, and never an actor', async () => {
    await onZygote(async (an) => {
      const portal = await an.startActor<typeof Nest>('nest', { module: NEST })
      await portal.openContext('waitingTree', [2, 1], async (ctx, pids: number[]) => {
        expect(new Set(pids).size).toBeGreaterThanOrEqual(3)
        const zygotes = new Set(pids.map(zygoteOf))
        expect(zygotes.size).toBe(1)
        const [zygote = 0] = zygotes
        expect(zygoteOf(zygote)).toBe(process.pid)
        expect(commandOf(zygote)).toBe('harrow zygote')
        expect(childrenOf(process.pid).filter((pid) => commandOf(pid) === 'harrow zygote')).toEqual([zygote])
        await ctx.cancel()
      })
      await an.cancel()
    })
  })

  test.each([
    ['a timer', 'setInterval(() => {}, 1e6)', /not quiet \(Timeout\)/],
    [
      'a worker',
      `import { Worker } from 'node:worker_threads'; new Worker('setInterval(()=>{},1e6)', { eval: true })`,
      /not quiet \(Worker\)/,
    ],
    [
      'a server',
      `import net from 'node:net'; net.createServer().listen(0, '127.0.0.1')`,
      /not quiet \(TCPServerWrap\)/,
    ],
  ])('R-632 refuses to be forked with %s under way', async (_what, text, words) => {
    await tree('zygote', async () => {
      const error = await failure(
        openNursery(async (an) => {
          await an.startActor('born', { module: BORN, spawnOpts: { warm: [warm(text)], fallback: false } })
        }),
      )
      expect(error.message).toMatch(words)
    })
  })

  test('R-632 and then the actor is spawned, with the reason said once', async () => {
    const warnings: string[] = []
    const onWarning = (warning: Error & { code?: string }): void => {
      if (warning.code === 'HARROW_ZYGOTE_FALLBACK') warnings.push(warning.message)
    }
    process.on('warning', onWarning)
    try {
      await onZygote(
        async (an) => {
          for (const name of ['one', 'two']) {
            const portal = await an.startActor<typeof Born>(name, { module: BORN })
            const { pid, realPid, isRoot } = await portal.call('birth')
            expect([pid, isRoot]).toEqual([realPid, false])
            expect(zygoteOf(pid)).toBe(process.pid)
          }
          await an.cancel()
        },
        { warm: [warm('setTimeout(() => {}, 1e6)')] },
      )
      expect(warnings).toEqual([expect.stringMatching(/could not fork: .*not quiet \(Timeout\).*spawned instead/)])
    } finally {
      process.removeListener('warning', onWarning)
    }
  })

  test('R-633 R-818 R-144 its children have their own pid, random numbers, place and labels', async () => {
    await onZygote(async (an) => {
      const births = []
      for (let i = 0; i < 12; i++) {
        const portal = await an.startActor<typeof Born>(`born${i}`, {
          module: BORN,
          env: { HARROW_HOME_OF_TEST: `${i}` },
        })
        births.push(await portal.call('birth'))
      }
      for (const key of ['pid', 'uuid', 'webUuid', 'int', 'random'] as const) {
        expect(new Set(births.map((birth) => birth[key])).size, key).toBe(births.length)
      }
      for (const [i, birth] of births.entries()) {
        expect(birth.pid).toBe(birth.realPid)
        expect(birth.isRoot).toBe(false)
        expect(birth.home).toBe(`${i}`)
        expect(birth.environ).toContain(`HARROW_HOME_OF_TEST=${i}`)
        expect(birth.execArgv.filter((flag) => /single-threaded|memory-reducer/.test(flag))).toEqual([])
        expect(birth.cwd).toBe(process.cwd())
      }
      await an.cancel()
    })
  })

  test('R-633 R-651 R-813 R-652 its children hold no descriptor of it, at any depth', async () => {
    await onZygote(async (an) => {
      const portal = await an.startActor<typeof Born>('first', { module: BORN })
      const other = await an.startActor<typeof Born>('second', { module: BORN })
      const first = await portal.call('descriptors')
      const second = await other.call('descriptors')
      const { pid } = await portal.call('birth')
      // The link, the server, and connections to peers; none of them is a sibling's. Pipes are libuv's, made at its start.
      const own = (all: string[]): string[] => all.filter((target) => target.startsWith('socket:'))
      expect(own(first).filter((target) => own(second).includes(target))).toEqual([])
      expect(first.filter((target) => target.includes('zygote'))).toEqual([])
      expect(first.length).toBeLessThan(40)
      expect(zygoteOf(pid)).not.toBe(process.pid)
      await an.cancel()
    })
  })

  test('R-634 R-661 tells how its children end', async () => {
    const ends: Promise<unknown>[] = []
    const failure = await onZygote(async (an) => {
      for (const code of [0, 7]) {
        const portal = await an.startActor<typeof Born>('born', { module: BORN })
        const handle = [...an.children.values()].find((child) => child.aid.uuid === portal.aid.uuid)?.handle
        const end = handle?.wait(AbortSignal.timeout(10_000))
        // The second one ends the nursery, and with it this function.
        if (end) ends.push(end)
        void portal.call('exitWith', code).catch(() => {})
        await end
      }
    }).catch((error: Error) => error)
    expect(await Promise.all(ends)).toEqual([
      { code: 0, signal: null },
      { code: 7, signal: null },
    ])
    expect((failure as Error | undefined)?.message).toContain('rc=7')
  })

  test('R-635 that is killed takes nobody with it, and another one takes its place', async () => {
    await onZygote(async (an) => {
      const portal = await an.startActor<typeof Born>('before', { module: BORN })
      const { pid } = await portal.call('birth')
      const zygote = known(zygoteOf(pid))
      process.kill(zygote.pid, 'SIGKILL')
      await eventually('the zygote is gone', () => gone(zygote))
      expect((await portal.call('birth')).pid).toBe(pid)
      const next = await an.startActor<typeof Born>('after', { module: BORN })
      const after = zygoteOf((await next.call('birth')).pid)
      expect([process.pid, zygote.pid]).not.toContain(after)
      // Its end is seen without the zygote.
      await portal.cancelActor()
      await eventually('the first actor is reaped', () => an.size === 1)
      await an.cancel()
    })
  })

  test('R-635 that has just gone is not handed out', async () => {
    const kind = { tree: `gone-${process.pid}`, execArgv: [], warm: [], bare: true }
    const env = { ...(process.env as Record<string, string>), HARROW_LOGLEVEL: 'silent' }
    try {
      const first = await zygoteFor(kind, env)
      process.kill(first.pid, 'SIGKILL')
      await first.closed
      const second = await zygoteFor(kind, env)
      expect(second.isOpen).toBe(true)
      expect(second.pid).not.toBe(first.pid)
    } finally {
      await endZygotes()
    }
  })

  test('R-636 ends when the root is killed', async () => {
    await inFolder(async (folder) => {
      const program = new URL('../fixtures/actors/programs/idle-tree.ts', import.meta.url).pathname
      const child = spawn(process.execPath, [program, `unix:${folder}/r.sock`, 'zygote'], {
        stdio: ['ignore', 'pipe', 'ignore'],
        env: { ...process.env, HARROW_BACKEND: '' },
      })
      try {
        let out = ''
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          out += text
        })
        await eventually('the actor is there', () => /CHILD_PID=\d+/.test(out), 25_000)
        const actor = known(Number(/CHILD_PID=(\d+)/.exec(out)?.[1]))
        const zygote = known(zygoteOf(actor.pid))
        expect(commandOf(zygote.pid)).toBe('harrow zygote')
        child.kill('SIGKILL')
        await eventually('both are gone', () => gone(zygote) && gone(actor))
      } finally {
        child.kill('SIGKILL')
      }
    })
  })

  test('R-637 that does not answer is an error, and what it makes too late ends by itself', async () => {
    await tree('zygote', async () => {
      let zygote = 0
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Born>('born', { module: BORN })
          zygote = zygoteOf((await portal.call('birth')).pid)
          process.kill(zygote, 'SIGSTOP')
          try {
            await an.startActor('late', { module: BORN, spawnOpts: { fallback: false, forkReturn: 300 } })
          } finally {
            process.kill(zygote, 'SIGCONT')
          }
        }),
      )
      expect(error.message).toMatch(/could not be forked: the zygote \(pid \d+\) gave no answer within 300 ms/)
      await eventually('nobody is left below it', () => childrenOf(zygote).every(isSpare))
    })
  })

  test('R-631 R-633 a child that was forked ahead becomes the next actor, and none is left without its zygote', async () => {
    const kept: ProcessIdentity[] = []
    await onZygote(async (an) => {
      const first = await an.startActor<typeof Born>('first', { module: BORN })
      const zygote = zygoteOf((await first.call('birth')).pid)
      const sparesOf = (): number[] => childrenOf(zygote).filter(isSpare)
      const start = async (): Promise<{ waited: number[]; pid: number }> => {
        const waited = sparesOf()
        const portal = await an.startActor<typeof Born>('next', { module: BORN })
        const { pid, realPid, isRoot, title } = await portal.call('birth')
        expect([pid, isRoot, title]).toEqual([realPid, false, `harrow[next@${pid}]`])
        return { waited, pid }
      }
      await eventually('an actor is one that waited', async () => {
        const { waited, pid } = await start()
        return waited.includes(pid)
      })
      await eventually('another one waits', () => sparesOf().length === 1)
      process.kill(sparesOf()[0]!, 'SIGKILL')
      await start()
      await eventually('it is replaced', () => sparesOf().length === 1)
      kept.push(known(sparesOf()[0]!))
      await an.cancel()
    })
    expect(kept.map(gone)).toEqual([true])
  })

  test('forks none ahead where it is told so, and looks for no module of its warm list a second time', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'warm.mjs')
      writeFileSync(path, 'export const pid = async () => process.pid')
      const module = pathToFileURL(path).href
      await onZygote(
        async (an) => {
          const pids = []
          for (const name of ['one', 'two', 'three']) {
            const portal = await an.startActor<{ pid(): Promise<number> }>(name, { module })
            pids.push(await portal.call('pid'))
            expect(childrenOf(zygoteOf(pids[0]!)).filter(isSpare)).toEqual([])
            rmSync(path, { force: true })
          }
          expect(new Set(pids).size).toBe(3)
          await an.cancel()
        },
        { fallback: false, spare: false, warm: [module] },
      )
    }))

  test('R-638 R-814 nothing of it goes on in its children, and their loops are their own', async () => {
    const text = `import net from 'node:net'
      globalThis.ticks = 0
      setInterval(() => globalThis.ticks++, 5).unref()
      process.on('exit', () => globalThis.ticks++)
      process.on('SIGUSR2', () => globalThis.ticks++)
      net.createServer().listen(0, '127.0.0.1').unref()
      crypto.randomUUID(); Math.random()`
    await onZygote(
      async (an) => {
        const portal = await an.startActor<typeof Born>('born', { module: BORN })
        expect(await portal.call('leftOver')).toEqual({ ticks: 0, exit: expect.any(Number), usr2: 0 })
        expect(await portal.call('wakes')).toEqual(['timer', 'file', 'signal'])
        await an.cancel()
      },
      { warm: [warm(text)], fallback: false },
    )
  })
})

describe.skipIf(able !== true || !isAsked)('forks', () => {
  test('R-637 an answer that came while the caller was busy is not late', async () => {
    const kind = { tree: `busy-${process.pid}`, execArgv: [], warm: [], bare: true }
    const zygote = await zygoteFor(kind, { ...(process.env as Record<string, string>), HARROW_LOGLEVEL: 'silent' })
    const nowhere = { path: '/dev/null' }
    const { result } = orderChild(
      {
        zygote: async () => zygote,
        order: () => ({
          task: { name: 'one', uuid: 'busy', parentAddr: 'unix:/nowhere/busy.sock' },
          env: { ...(process.env as Record<string, string>), HARROW_LOGLEVEL: 'silent' },
          cwd: process.cwd(),
          umask: 0o22,
          stay: false,
        }),
        output: () => ({ stdout: nowhere, stderr: nowhere, letGo: () => {} }),
        retries: 0,
        forkReturnMs: 100,
      },
      { born: () => {}, gone: () => {} },
    )
    // The order goes out in jobs, and before the loop turns again its limit has passed.
    for (let n = 0; n < 10; n++) await null
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
    expect(await result).toEqual({ kind: 'exit', exit: { code: 1, signal: null } })
    await endZygotes()
  })

  test('R-830 R-604 a hundred forks in a row: none crashes, none hangs, nothing grows', async () => {
    const { ends, before, after } = await forksInARow(100)
    expect(ends).toEqual({ well: 100 })
    // One child that waits, and the socket to it, may be there or just be taken.
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 1)
    expect(after.threads).toBeLessThanOrEqual(before.threads)
    expect(after.children).toBeLessThanOrEqual(1)
    expect(after.mappings - before.mappings).toBeLessThan(64)
  }, 300_000)

  test.each(['control', 'single-threaded', 'zygote', 'nested'])(
    'R-639 R-640 the smoke test without harrow has its outcome: %s',
    async (scenario) => {
      const script = `${root}/scripts/dev/smoke-fork.ts`
      expect(existsSync(script)).toBe(true)
      const child = spawn(process.execPath, ['--no-warnings', script, '--scenario', scenario], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let out = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        out += text
      })
      expect((await once(child, 'close'))[0], out).toBe(0)
      expect(out).toContain('1 of 1 scenarios as expected')
    },
    120_000,
  )
})
