import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Child } from '../../src/actor/child.ts'
import {
  type ActorNursery,
  ActorTooSlowError,
  ContextCancelled,
  currentScope,
  DeadlineExceeded,
  failAfter,
  moveOnAfter,
  openNursery,
  openTaskNursery,
  sleep,
  TransportClosed,
} from '../../src/index.ts'
import type { ProcessIdentity } from '../../src/process/identity.ts'
import { childrenOf, threadsOf } from '../../src/process/procfs.ts'
import { abandonedThreads } from '../../src/spawn/thread/abandoned.ts'
import { parseAddress } from '../../src/wire/address.ts'
import { dial } from '../../src/wire/listener.ts'
import type * as Nest from '../fixtures/actors/nest.ts'
import type * as Rude from '../fixtures/actors/rude.ts'
import type * as Tally from '../fixtures/actors/tally.ts'
import { withProgram } from './program.ts'
import {
  addressesOf,
  BACKENDS,
  eventually,
  failure,
  gone,
  inFolder,
  known,
  moduleOf,
  NEST,
  PATIENT,
  PROCESS_BACKENDS,
  RUDE,
  TALLY,
  tree,
} from './world.ts'

describe.each(BACKENDS)('cancelling an actor of %s', (backend) => {
  test('R-201 R-202 is acknowledged once, and says no when there is nobody any more', async () => {
    const body = () =>
      openNursery(async (an) => {
        const portal = await an.startActor('tally', { module: TALLY })
        expect(await portal.cancelActor()).toBe(true)
        await eventually('the channel is closed', () => !portal.connected)
        expect(await portal.cancelActor()).toBe(false)
      })
    await tree(backend, body, PATIENT)
  })

  test('R-202 R-807 a channel that breaks meanwhile is no acknowledgement, and the ladder goes on', async () => {
    await tree(backend, async () => {
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          const call = portal.call('shieldedFor', 3000)
          const asked = portal.cancelActor()
          portal.peer.destroy('broken by the test')
          expect(await asked).toBe(false)
          await call
        }),
      )
      expect(error).toBeInstanceOf(TransportClosed)
    })
  })

  test('R-203 R-205 an actor with a task that will not stop is too slow, which is no timeout', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const call = portal.call('shieldedFor', 2000).catch(() => 'ended')
        await portal.call('facts')
        const error = await failure(portal.cancelActor({ timeoutMs: 100, raiseOnTimeout: true }))
        expect(error).toBeInstanceOf(ActorTooSlowError)
        expect(error).not.toBeInstanceOf(DeadlineExceeded)
        expect(error).toMatchObject({ code: 'HARROW_TOO_SLOW', uid: ['rude', portal.aid.uuid] })
        await an.cancel({ hardKill: true })
        await call
      })
    })
  })

  test('R-204 when it has acknowledged, its tasks are over and it takes no new work', async () => {
    await inFolder(async (folder) => {
      const file = `${folder}/reason`
      await tree(backend, async (root) => {
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          const call = failure(portal.call('reasonOfCancel', file))
          await portal.call('facts')
          const [address = ''] = await addressesOf(root, portal.aid.uuid)
          expect(await portal.cancelActor()).toBe(true)
          expect(existsSync(file)).toBe(true)
          // Its server was closed before it acknowledged.
          expect(await failure(dial(parseAddress(address), { limitMs: 2000 }))).toBeInstanceOf(Error)
          expect(await call).toBeInstanceOf(ContextCancelled)
          expect(await failure(portal.call('facts'))).toMatchObject({
            code: expect.stringMatching(/HARROW_(CANCELLED|CLOSED)/),
          })
        })
      })
      // what the task saw is the very reason of its scope.
      expect(readFileSync(file, 'utf8')).toMatch(/^ContextCancelled true actor rude was cancelled by root/)
    })
  })

  test('R-207 R-820 many stuck actors are ended side by side', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portals = []
        for (let i = 0; i < 5; i++) portals.push(await an.startActor<typeof Rude>(`stuck${i}`, { module: RUDE }))
        for (const portal of portals) void portal.call('shieldedFor', 9000).catch(() => {})
        for (const portal of portals) await portal.call('facts')
        const children = [...an.children.values()]
        const first = Promise.race(children.map((child) => child.handle?.wait()))
        const cancelling = an.cancel()
        await first
        // When the first one ends, all have been asked long since.
        expect(children.map((child) => child.peer?.cancelCalled)).toEqual(children.map(() => true))
        await cancelling
        expect(an.size).toBe(0)
        expect(children.every((child) => child.escalated)).toBe(true)
      })
    })
  }, 60_000)

  test('R-208 R-209 R-819 an actor that is cancelled while it boots leaves nothing', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        // A zygote is started with the first actor, and stays for the next ones.
        const before = childrenOf(process.pid).length + (backend === 'zygote' ? 1 : 0)
        const outcome = await moveOnAfter(10, () => an.startActor('never', { module: moduleOf('never-loads') }))
        if (!outcome.timedOut) await an.cancel()
        expect(an.size).toBe(0)
        await eventually('its process is gone', () => childrenOf(process.pid).length <= before)
      })
    })
  })

  test('R-210 two who cancel one actor both hear of its end', async () => {
    const body = async (): Promise<void> => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('target', { module: TALLY })
        const other = await an.startActor<typeof Nest>('other', { module: NEST })
        const [mine, theirs] = await Promise.all([portal.cancelActor(), other.call('cancelOther', 'target')])
        expect(mine).toBe(true)
        expect(typeof theirs).toBe('boolean')
        await other.cancelActor()
      })
    }
    await tree(backend, body, PATIENT)
  })

  test('R-003 R-226 a task that reacts to nothing is given up, and the actor ends in order', async () => {
    await tree(
      backend,
      async () => {
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          const call = failure(portal.call('neverSettles'))
          await portal.call('facts')
          await an.cancel()
          expect((await call).code).toMatch(/HARROW_(CANCELLED|CLOSED)/)
          expect(an.cancelledCaught).toBe(true)
        })
      },
      PATIENT,
    )
  })

  test('R-226 the parent is told which tasks were given up', async () => {
    await withProgram('gives-up', [backend], async (program) => {
      expect(await program.exit, program.out).toEqual({ code: 0, signal: null })
      expect(program.out).toMatch(/WARNING harrow\[root\] actor rude gave up tasks .*: neverSettles/)
    })
  })

  test('R-212 an actor that ends by itself is not waited for any longer', async () => {
    await tree(
      backend,
      async () => {
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          // Nothing acknowledges the request; waiting for that would outlast the test.
          void portal.call('exitWith', 0).catch(() => {})
          await an.cancel()
          expect(an.size).toBe(0)
          expect(an.cancelledCaught).toBe(true)
        })
      },
      { deadlines: { cancelAck: 600_000, nurseryCancel: 600_000 } },
    )
  })

  test('R-213 the cancellation of a root with an idle daemon is graceful', async () => {
    const body = async (): Promise<void> => {
      let nursery: ActorNursery | undefined
      await openTaskNursery(async (tasks) => {
        const task = tasks.spawn(() =>
          openNursery(async (an) => {
            await an.startActor('idle', { module: TALLY })
            nursery = an
            await sleep(60_000)
          }),
        )
        await eventually('the daemon is there', () => nursery)
        task.cancel('enough')
      })
      expect([nursery?.exited, nursery?.cancelledCaught]).toEqual([true, true])
    }
    await tree(backend, body, PATIENT)
  })

  test('R-218 R-128 a cancel that comes again during the end changes nothing', async () => {
    const children: Child[] = []
    await tree(backend, async () => {
      await openTaskNursery(async (nursery) => {
        const task = nursery.spawn(() =>
          openNursery(async (an) => {
            const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
            void portal.call('shieldedFor', 1500).catch(() => {})
            children.push(...an.children.values())
            await portal.call('facts')
            queueMicrotask(() => task.cancel('first'))
            await sleep(60_000)
          }),
        )
        await eventually('it is cancelled', () => task.cancelled)
        task.cancel('again')
        nursery.cancel('and from outside')
      })
    })
    expect(currentScope().cancelled).toBe(false)
    expect(children.map((child) => [child.state, child.handle?.poll() !== undefined])).toEqual([['gone', true]])
  })

  test('R-270 cancelling the context of a spawner ends the actors that it has spawned', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Nest>('keeper', { module: NEST })
        const identity = await portal.openContext('keeper', ['kept'], async (ctx, pid) => {
          const below = known(pid)
          await ctx.cancel()
          return below
        })
        if (backend !== 'thread') await eventually('the grandchild is gone', () => gone(identity))
        const { findActor } = await import('../../src/index.ts')
        await eventually('nobody of that name is registered', async () => (await findActor('kept')) === null)
        await portal.cancelActor()
      })
    })
  })
})

describe.each(PROCESS_BACKENDS)('a process of %s that does not want to end', (backend) => {
  test('R-211 that ignores the request and SIGTERM is killed', async () => {
    await tree(backend, async () => {
      const identity = await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const pid = await portal.call('ignoreSigterm')
        void portal.call('shieldedFor', 9000).catch(() => {})
        await portal.call('facts')
        const found = known(pid)
        await an.cancel()
        return found
      })
      expect(gone(identity)).toBe(true)
    })
  })

  test.each([
    ['spin', 3000],
    ['waitAtomically', 3000],
    ['runProgram', 3],
  ] as const)(
    'R-214 R-215 a grandchild that blocks (%s) is torn down with the tree',
    async (how, amount) => {
      await tree(backend, async () => {
        let identity: ReturnType<typeof known> | undefined
        const error = await failure(
          openNursery(async (an) => {
            const portal = await an.startActor<typeof Nest>('middle', { module: NEST })
            await portal.openContext('blockedChild', [how, amount], async (_ctx, pid) => {
              identity = known(pid)
              throw new Error('the root fails')
            })
          }),
        )
        expect(error.message).toBe('the root fails')
        expect(identity && gone(identity)).toBe(true)
      })
    },
    60_000,
  )

  test('R-216 R-642 R-816 what a killed actor had started goes with it', async () => {
    await tree(backend, async () => {
      const stopped: ProcessIdentity[] = []
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Nest & typeof Rude>('keeper', { module: NEST, modules: [RUDE] })
          await portal.openContext('keeper', ['kept'], async (_ctx, pid) => {
            const { pid: own } = await portal.in<typeof Rude>(RUDE).call('facts')
            stopped.push(known(own), known(pid))
            process.kill(own, 'SIGSTOP')
            await an.cancel({ hardKill: true })
          })
        }),
      )
      // The body sees the end of its channel, which is what it asked for.
      expect(error).toBeInstanceOf(TransportClosed)
      expect(stopped.map(gone)).toEqual([true, true])
    })
  }, 60_000)
})

describe('a thread that does not want to end', () => {
  test.runIf(BACKENDS.includes('thread')).each(['spin', 'waitAtomically'] as const)(
    'R-223 R-802 several that block (%s) are terminated, and no thread is left',
    async (how) => {
      await tree('thread', async () => {
        const stuck = (count: number) =>
          openNursery(async (an) => {
            for (let i = 0; i < count; i++) {
              const portal = await an.startActor<typeof Rude>(`stuck${i}`, { module: RUDE })
              void portal.call(how, 60_000).catch(() => {})
            }
            await an.cancel()
            expect([an.size, an.cancelledCaught]).toEqual([0, false])
          })
        await stuck(1)
        const before = threadsOf(process.pid).length
        await stuck(6)
        await eventually('as many threads as before', () => threadsOf(process.pid).length <= before)
        expect(abandonedThreads()).toBe(0)
      })
    },
    60_000,
  )
})

describe('a deadline', () => {
  test('R-004 is told from everything else', async () => {
    const error = await failure(failAfter(10, () => sleep(60_000), { what: 'the nap' }))
    expect(error).toMatchObject({ name: 'TimeoutError', what: 'the nap', cause: expect.any(DeadlineExceeded) })
  })
})
