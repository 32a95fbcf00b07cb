import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import {
  findActor,
  getRegistry,
  openNursery,
  openTaskNursery,
  type RootOptions,
  waitForActor,
} from '../../src/index.ts'
import type * as Nest from '../fixtures/actors/nest.ts'
import * as nest from '../fixtures/actors/nest.ts'
import type * as Tally from '../fixtures/actors/tally.ts'
import { BACKENDS, eventually, failure, inFolder, NEST, PROCESS_BACKENDS, TALLY, tree } from './world.ts'

const ONE_ROOT = new URL('../fixtures/actors/programs/one-root.ts', import.meta.url).pathname

describe('a registrar', () => {
  test('R-104 R-502 a root that nobody answers is the registrar, and finds itself', async () => {
    await tree('spawn', async (root) => {
      expect(root.registry).toBeDefined()
      const portal = await waitForActor('root')
      expect(portal.aid.uuid).toBe(root.aid.uuid)
      const registry = await getRegistry()
      expect(registry?.aid.uuid).toBe(root.aid.uuid)
    })
  })

  test('R-104 R-105 R-515 roots that race for an address: one is the registrar, the others join', async () => {
    await inFolder(async (folder) => {
      const address = `unix:${folder}/race.sock`
      // All stay until each has said what it became: one that starts late must find the others.
      const roots = Array.from({ length: 4 }, () => start(ONE_ROOT, [address, '60000']))
      const roles: (string | undefined)[] = []
      try {
        await eventually('all have a role', () => roots.every(({ out }) => out.includes('role=')), 50_000)
        roles.push(...roots.map(({ out }) => /role=(\w+)/.exec(out)?.[1]).sort())
      } finally {
        await Promise.all(roots.map(({ end }) => end()))
      }
      expect(roles).toEqual(['joined', 'joined', 'joined', 'registrar'])
    })
  })

  test('R-514 R-513 something else at its address is refused by name', async () => {
    await inFolder(async (folder) => {
      const server = createServer((socket) => socket.resume().end('HTTP/1.1 400 no\r\n\r\n'))
      await new Promise<void>((resolve) => server.listen(`${folder}/other.sock`, resolve))
      try {
        const error = await failure(tree('spawn', async () => {}, { registryAddrs: [`unix:${folder}/other.sock`] }))
        expect(error).toMatchObject({ name: 'RuntimeFailure' })
        expect(error.message).toMatch(
          new RegExp(`process ${process.pid} \\(.*\\), which is .*, listens at unix:${folder}/other.sock`),
        )
        expect(error.message).toContain('it is no registrar that can be joined')
      } finally {
        await new Promise((resolve) => server.close(resolve))
      }
    })
  })
})

test('R-509 one that is registered and gives no answer is not said to be unknown', async () => {
  await inFolder(async (folder) => {
    const callers: Socket[] = []
    const silent = createServer((caller) => void callers.push(caller)).listen(`${folder}/silent.sock`)
    try {
      await once(silent, 'listening')
      await tree(
        'spawn',
        async (root) => {
          const aid = { ...root.aid, name: 'mute', uuid: 'f'.repeat(root.aid.uuid.length) }
          root.registry?.register(aid, [`unix:${folder}/silent.sock`])
          const error = await failure(findActor('mute', { raiseOnNone: true }))
          expect(error.name).toBe('NoRuntime')
          expect(error.message).toMatch(/actor mute is registered at .*, but does not answer at unix:.*silent\.sock/)
          expect(await findActor('mute')).toBe(null)
        },
        { deadlines: { handshakeOut: 200 } },
      )
    } finally {
      for (const caller of callers) caller.destroy()
      silent.close()
    }
  })
})

describe('the registrar of another program', () => {
  test('R-513 R-514 that gives no answer is passed over at the shared address, and named', async () => {
    await inFolder(async (folder) => {
      const env = { HARROW_RUNTIME_DIR: folder }
      const shared = `unix:${folder}/registry.sock`
      const first = start(ONE_ROOT, ['shared', '60000'], env)
      const started = [first]
      try {
        await eventually('it is the registrar', () => first.out.includes('role=registrar'), 50_000)
        expect(first.out).toContain(`at=${shared}\n`)
        process.kill(first.pid, 'SIGSTOP')
        const second = start(ONE_ROOT, ['shared', '60000'], env)
        started.push(second)
        const named = new RegExp(
          `process ${first.pid} \\(.*one-root.*\\), which is stopped by a signal, listens at ${shared}`,
        )
        // Who has named the address gets that one or none.
        const quick = { probe: 300, probeAttempt: 100 }
        const error = await failure(tree('spawn', async () => {}, { registryAddrs: [shared], deadlines: quick }))
        expect(error.message).toMatch(named)
        expect(error.message).toContain(`gave no answer within`)
        expect(error.message).toContain(`kill -CONT ${first.pid}`)
        await eventually('it has one of its own', () => second.out.includes('role=registrar'), 50_000)
        expect(second.out).toMatch(named)
        expect(second.out).toMatch(new RegExp(`at=unix:${folder}/registry-\\w+\\.${second.pid}\\.`))
        // It answers again, and is joined; when it stops, actors that register there start all the same.
        process.kill(first.pid, 'SIGCONT')
        const joins = { registryAddrs: [shared], deadlines: { handshakeOut: 120_000 } }
        await tree(
          'thread',
          async (root) => {
            expect(root.registry).toBe(undefined)
            process.kill(first.pid, 'SIGSTOP')
            await openNursery(async (an) => {
              const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
              expect(await portal.call('echo', 'here')).toBe('here')
              await portal.cancelActor()
            })
          },
          joins,
        )
      } finally {
        await Promise.all(started.map(({ end }) => end()))
      }
    })
  })

  test('R-514 over TCP, with another key, is told as that', async () => {
    await inFolder(async (folder) => {
      const other = start(ONE_ROOT, ['tcp:127.0.0.1:0', '60000'], {
        HARROW_RUNTIME_DIR: folder,
        HARROW_TRANSPORT: 'tcp',
      })
      try {
        await eventually('it is the registrar', () => other.out.includes('role=registrar'), 50_000)
        const address = /at=(.*)/.exec(other.out)?.[1] as string
        const error = await failure(
          tree('spawn', async () => {}, { enableTransports: ['tcp'], registryAddrs: [address] }),
        )
        expect(error.message).toMatch(new RegExp(`process ${other.pid} \\(.*\\), which is .*, listens at ${address}`))
        expect(error.message).toContain('of another user or of another HARROW_RUNTIME_DIR: its key')
      } finally {
        await other.end()
      }
    })
  })
})

describe.each(BACKENDS)('finding actors of %s', (backend) => {
  test('R-501 R-504 R-507 R-508 by the name that registered last', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        expect(await findActor('doggy')).toBe(null)
        const first = await an.startActor('doggy', { module: TALLY })
        // Each link has an order, two have none in common.
        await eventually('the first is registered', () => root.registry?.get(first.aid.uuid))
        const second = await an.startActor<typeof Tally>('doggy', { module: TALLY })
        await eventually('the second is registered', () => root.registry?.get(second.aid.uuid))
        const found = await findActor<typeof Tally>('doggy')
        expect(found?.aid.uuid).toBe(second.aid.uuid)
        expect(await found?.call('echo', 'wuff')).toBe('wuff')
        expect(await findActor(second.aid.uuid)).toBe(null)
        const error = await failure(findActor('cat', { raiseOnNone: true }))
        expect(error.message).toContain('r.sock')
        await an.cancel()
      })
    })
  })

  test('R-505 who waits for a name is woken by its registration', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        await openTaskNursery(async (nursery) => {
          const waiting = [1, 2].map(() => nursery.spawn(() => waitForActor('late')))
          await eventually('they wait', () => waiting.every((task) => task.wait))
          const portal = await an.startActor('late', { module: TALLY })
          for (const task of waiting) expect((await task.result).aid.uuid).toBe(portal.aid.uuid)
        })
        await an.cancel()
      })
    })
  })

  test('R-510 R-511 R-512 R-204 nobody is registered after the end', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Nest>('keeper', { module: NEST })
        await portal.openContext('keeper', ['below'], async (ctx) => {
          await eventually('all are registered', () => root.registry?.list().length === 3)
          await ctx.cancel()
        })
        await an.cancel()
      })
      await eventually('only the root is left', () => root.registry?.list().length === 1)
    })
  })

  test('R-524 R-653 looking for actors leaves no connection, in who looks, who is found and who is asked', async () => {
    const transport: RootOptions = { enableTransports: ['tcp'], registryAddrs: ['tcp:127.0.0.1:0'] }
    await tree(
      backend,
      async (root) => {
        await openNursery(async (an) => {
          const looking = await an.startActor<typeof Nest>('nest', { module: NEST })
          const target = await an.startActor('target', { module: TALLY, modules: [NEST] })
          const nests = [looking, target.in<typeof Nest>(NEST)]
          const counts = async (): Promise<Awaited<ReturnType<typeof Nest.descriptors>>[]> =>
            await Promise.all([...nests.map((nest) => nest.call('descriptors')), nest.descriptors()])
          await eventually('it is registered', () => root.registry?.get(target.aid.uuid))
          // Nobody listens at them: found stale, and forgotten.
          for (let i = 0; i < 10; i++) {
            root.registry?.register({ name: `ghost${i}`, uuid: `ghost${i}` }, [`tcp:127.0.0.2:${i + 1}`])
          }
          const before = await counts()
          expect(await looking.call('looksAround', 100)).toBe('answered,')
          expect(
            root.registry
              ?.list()
              .map(({ aid }) => aid.name)
              .sort(),
          ).toEqual(['nest', 'root', 'target'])
          await eventually('as many as before', async () =>
            (await counts()).every(({ open, halfClosed }, i) => halfClosed === 0 && open <= (before[i]?.open ?? 0)),
          )
          await an.cancel()
        })
      },
      transport,
    )
  })

  test('R-509 an entry at whose address nobody listens any more is deleted', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const looking = await an.startActor<typeof Nest>('nest', { module: NEST })
        const stale = await an.startActor<typeof Nest>('stale', { module: NEST })
        const uuid = stale.aid.uuid
        await eventually('it is registered', async () => root.registry?.get(uuid) !== undefined)
        await stale.call('stopsListening')
        expect(root.registry?.get(uuid)?.aid.name).toBe('stale')
        // Asked for by another actor, which has no channel to it, and whose registrar is another actor still.
        expect(await looking.call('callOther', 'stale')).toBe('nobody')
        expect(root.registry?.get(uuid)).toBe(undefined)
        // And by the registrar itself.
        root.registry?.register({ name: 'ghost', uuid: 'ghost' }, ['unix:/nowhere/ghost.sock'])
        expect(await findActor('ghost')).toBe(null)
        expect(root.registry?.get('ghost')).toBe(undefined)
        await an.cancel()
      })
    })
  })
})

describe.each(PROCESS_BACKENDS)('a registrar of %s', (backend) => {
  test('R-104 R-516 over TCP, with a port of the system’s choice', async () => {
    await tree(
      backend,
      async (root) => {
        expect(root.vars.rootMailbox).toMatch(/^tcp:127\.0\.0\.1:[1-9]\d+$/)
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
          expect(await portal.call('echo', 'over TCP')).toBe('over TCP')
          await portal.cancelActor()
        })
      },
      { enableTransports: ['tcp'], registryAddrs: ['tcp:127.0.0.1:0'] },
    )
  })
})

interface Started {
  readonly pid: number
  /** What it has printed so far. */
  out: string
  end(): Promise<void>
}

function start(program: string, args: string[], env: Record<string, string> = {}): Started {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  const exited = once(child, 'exit')
  const started: Started = {
    pid: child.pid as number,
    out: '',
    async end() {
      child.kill('SIGKILL')
      await exited
    },
  }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      started.out += text
    })
  }
  return started
}
