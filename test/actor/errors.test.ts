import { describe, expect, test } from 'vitest'
import {
  ActorFailure,
  ActorGroupError,
  breakIpc,
  ContextCancelled,
  currentTask,
  moveOnAfter,
  openNursery,
  RemoteActorError,
  sleep,
  TransportClosed,
} from '../../src/index.ts'
import type * as Nest from '../fixtures/actors/nest.ts'
import * as nest from '../fixtures/actors/nest.ts'
import type * as Rude from '../fixtures/actors/rude.ts'
import type * as Tally from '../fixtures/actors/tally.ts'
import * as tally from '../fixtures/actors/tally.ts'
import { BACKENDS, eventually, failure, moduleOf, NEST, PROCESS_BACKENDS, RUDE, TALLY, tree } from './world.ts'

describe.each(BACKENDS)('errors of an actor of %s', (backend) => {
  test('R-302 R-301 arrive boxed, with class, actor and stack', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const error = await failure(portal.call('fail', 'no such thing'))
        expect(error).toBeInstanceOf(RemoteActorError)
        expect(error).toMatchObject({
          boxedType: TypeError,
          boxedTypeName: 'TypeError',
          srcUid: ['tally', portal.aid.uuid],
          remoteMessage: 'no such thing',
        })
        expect(error.remoteStack).toContain('tally.ts')
        expect(error.cause).toBe(undefined)
        // Its own stack begins where the call was made.
        expect(error.stack).toMatch(
          /^RemoteActorError: TypeError in actor tally: no such thing\n\s+at .*errors\.test\.ts/,
        )
        expect((error as never as RemoteActorError).unwrap()).toBeInstanceOf(TypeError)
        await portal.cancelActor()
      })
    })
  })

  test('R-305 relayed over hops they keep their origin and tell the way', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Nest>('outer', { module: NEST })
        const error = await failure(portal.call('passOn', 'from below'))
        expect(error).toMatchObject({
          boxedTypeName: 'RemoteActorError',
          srcTypeName: 'TypeError',
          srcType: TypeError,
          remoteMessage: 'from below',
          relayUid: ['outer', portal.aid.uuid],
        })
        const { srcUid, relayPath } = error as never as RemoteActorError
        expect(srcUid[0]).toBe('inner')
        expect(relayPath.map(([name]) => name)).toEqual(['inner', 'outer'])
        expect(root.aid.name).toBe('root')
        await portal.cancelActor()
      })
    })
  })

  test('R-306 R-307 R-308 R-623 a class that nobody has registered arrives by its name', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const error = (await failure(portal.call('failOwn'))) as never as RemoteActorError
        expect([error.boxedType, error.boxedTypeName]).toEqual([null, 'OwnError'])
        expect(error.unwrap()).toMatchObject({ name: 'OwnError', message: 'of my own', detail: 42 })
        await portal.cancelActor()
      })
    })
  })

  test('R-310 R-314 one error leaves bare, several as a group with all members', async () => {
    await tree(backend, async () => {
      const own = new Error('of the body')
      const error = await failure(
        openNursery(async (an) => {
          const portals = []
          for (let i = 0; i < 3; i++)
            portals.push(await an.runInActor(tally.fail, { name: `f${i}`, args: [`no ${i}`] }))
          for (const portal of portals) await failure(portal.waitForResult())
          throw own
        }),
      )
      const members = error instanceof AggregateError ? error.errors : [error]
      expect(members).toContain(own)
      if (members.length > 1) expect(error).toBeInstanceOf(ActorGroupError)
      const one = await failure(
        openNursery(async (an) => {
          await an.runInActor(tally.fail, { args: ['alone'] })
        }),
      )
      expect(one).toBeInstanceOf(RemoteActorError)
    })
  })

  test('R-310 many failing actors give a member each', async () => {
    await tree(backend, async () => {
      const error = await failure(
        openNursery(async (an) => {
          const portals = []
          for (let i = 0; i < 6; i++)
            portals.push(await an.runInActor(tally.fail, { name: `f${i}`, args: [`no ${i}`] }))
          // All have failed before the nursery looks.
          for (const portal of portals) await failure(portal.waitForResult())
        }),
      )
      expect(error).toBeInstanceOf(ActorGroupError)
      const messages = (error as never as AggregateError).errors.map((one) => one.remoteMessage).sort()
      expect(messages).toEqual(['no 0', 'no 1', 'no 2', 'no 3', 'no 4', 'no 5'])
    })
  }, 60_000)

  test('R-313 R-131 R-828 a failing tree of depth 2 arrives as its leaves, no bare cancellation', async () => {
    await tree(backend, async () => {
      const error = await failure(
        openNursery(async (an) => {
          await an.runInActor(nest.failingTree, { name: 'top', args: [2, 2] })
        }),
      )
      expect(error).toBeInstanceOf(RemoteActorError)
      expect((error as never as RemoteActorError).srcTypeName).toMatch(/RangeError|ActorGroupError/)
      expect(error).not.toBeInstanceOf(ContextCancelled)
    })
  }, 60_000)

  test('R-324 an error that nobody catches ends the actor and is told', async () => {
    await tree(backend, async () => {
      for (const how of ['throwLater', 'rejectLater'] as const) {
        const error = await failure(
          openNursery(async (an) => {
            const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
            await portal.call(how, 'nobody catches me')
            await sleep(60_000)
          }),
        )
        expect(error).toMatchObject({
          name: 'RemoteActorError',
          boxedTypeName: 'RangeError',
          remoteMessage: 'nobody catches me',
        })
      }
    })
  })

  test.each(['destroy', 'end'] as const)(
    'R-315 R-806 R-317 R-319 a channel that breaks (%s) rejects everything that waits on it',
    async (method) => {
      await tree(backend, async () => {
        const seen: unknown[] = []
        await failure(
          openNursery(async (an) => {
            const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
            await portal.openContext('deaf', [60_000], async (ctx) => {
              const call = failure(portal.call('napping', 60_000))
              const result = failure(ctx.waitForResult())
              breakIpc(ctx, { method })
              seen.push(await call, await result)
            })
          }),
        )
        expect(seen).toEqual([expect.any(TransportClosed), expect.any(TransportClosed)])
        expect(seen[0]).toMatchObject({ code: 'HARROW_CLOSED', by: 'local' })
      })
    },
  )

  test('R-316 R-318 an actor that breaks its own link is reaped', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const error = await failure(portal.openContext('breaksItsLink', [], async () => await sleep(60_000)))
        expect(error).toBeInstanceOf(TransportClosed)
        const outcome = await moveOnAfter(10_000, () => an.cancel())
        expect(outcome.timedOut).toBe(false)
        expect(an.size).toBe(0)
      })
    })
  })

  test('R-320 R-154 a call whose caller has gone runs to its end', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const other = await an.startActor<typeof Nest>('other', { module: NEST })
        expect(await other.call('callAndLeave', 'tally')).toBe('left')
        await eventually('the call has run to its end', async () => (await portal.call('add', 0)) === 7)
        await an.cancel()
      })
    })
  })

  test('R-322 a value that cannot travel is refused where it is sent', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const error = await failure(portal.call('echo', { deep: [1, { bad: () => 1 }] }))
        expect(error).toMatchObject({ name: 'MsgTypeError', path: 'args[0].deep[1].bad' })
        expect(await failure(portal.call('givesFunction'))).toMatchObject({ boxedTypeName: 'MsgTypeError' })
        expect(await portal.call('echo', 'still there')).toBe('still there')
        await portal.cancelActor()
      })
    })
  })

  test('R-005 R-320 whatever a call throws, its caller has an answer, and nobody else is harmed', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const said = async (odd: Parameters<typeof Rude.throwOdd>[0]): Promise<string> => {
          const { remoteMessage, boxedTypeName } = await failure(portal.call('throwOdd', odd))
          return `${boxedTypeName}: ${remoteMessage}`
        }
        expect(await said('no prototype')).toBe('Error: thrown: a thrown object that has no text')
        expect(await said('message')).toBe('Error: [object Object]')
        expect(await said('trap')).toMatch(/^RuntimeFailure: a thrown object that has no text/)
        // Longer than a frame may be; once is enough, for that takes a second.
        if (backend === BACKENDS[0]) {
          expect(await said('far too long')).toMatch(/^RangeError: x{65536}… \(cut: 35651584 characters\)$/)
          expect(await said('with too much')).toMatch(/^RuntimeFailure: it carries much \(/)
        }
        expect(await portal.call('exclaim', 'still there')).toBe('still there!')
        await portal.cancelActor()
      })
    })
  })

  test('R-433 rich values keep their types', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const values = [
          new Map([['a', new Set([1, 2n])]]),
          new Date(0),
          2n ** 90n,
          new Float64Array([0.5, -1]),
          Buffer.from('bytes'),
          Buffer.alloc(100_000, 7),
          { nested: [null, { list: [[]] }] },
          new AggregateError([new TypeError('one'), 'two'], 'both'),
          Number.NaN,
        ]
        const back = (await portal.call('echo', values)) as unknown[]
        expect(back).toEqual(values)
        expect(back[7]).toBeInstanceOf(AggregateError)
        expect(Buffer.isBuffer(back[5])).toBe(true)
        await portal.cancelActor()
      })
    })
  })

  test('R-420 a sender that nobody listens to is told', async () => {
    await tree(
      backend,
      async () => {
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
          const error = await failure(
            portal.openContext('producer', [1000], async (ctx) => {
              await ctx.waitForResult()
            }),
          )
          // The sender got the overrun, and failed by it.
          expect(error).toMatchObject({ boxedTypeName: 'RemoteActorError', srcTypeName: 'StreamOverrun' })
          await portal.cancelActor()
        })
      },
      { deadlines: { streamOpen: 50 } },
    )
  })

  test('R-422 overruns that are allowed are kept in order', async () => {
    await tree(
      backend,
      async () => {
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
          const got = await portal.openContext(
            'producer',
            [200],
            async (ctx) => {
              expect(await ctx.waitForResult()).toBe(200)
              return ctx.mailbox.length
            },
            { allowOverruns: true },
          )
          expect(got).toBe(200)
          await portal.cancelActor()
        })
      },
      // Each of them waits so long.
      { deadlines: { streamOpen: 10 } },
    )
  })

  test('R-418 R-428 order is kept, both ways, beside calls', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const got = await portal.openContext('doubler', ['x'], async (ctx) =>
          ctx.openStream(async (stream) => {
            const out: number[] = []
            const feeding = (async () => {
              for (let n = 0; n < 500; n++) await stream.send(n)
              stream.end()
            })()
            for await (const n of stream) {
              out.push(n)
              if (n % 100 === 0) expect(await portal.call('echo', n)).toBe(n)
            }
            await feeding
            return out
          }),
        )
        expect(got).toEqual(Array.from({ length: 500 }, (_, n) => 2 * n))
        await portal.cancelActor()
      })
    })
  })

  test('R-413 after the end of a stream every receive gives the same error', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        await portal.openContext('producer', [2], async (ctx) => {
          await ctx.openStream(async (stream) => {
            expect([await stream.receive(), await stream.receive()]).toEqual([0, 1])
            const first = await failure(stream.receive())
            expect(first).toMatchObject({ name: 'EndOfStream', code: 'HARROW_END_OF_STREAM' })
            expect(await failure(stream.receive())).toBe(first)
          })
          expect(await failure(ctx.openStream(async () => {}))).toMatchObject({ name: 'RuntimeFailure' })
          expect(await ctx.waitForResult()).toBe(2)
        })
        await portal.cancelActor()
      })
    })
  })

  test('R-429 R-254 leaving the stream of an endless generator ends it', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const got = await portal.openStreamFrom('endless', [1], async (stream) => {
          for await (const n of stream) if (n === 3) return n
          return -1
        })
        expect(got).toBe(3)
        await portal.cancelActor()
      })
    })
  })
})

describe.each(BACKENDS)('an actor of %s that dies', (backend) => {
  test('R-142 R-007 R-626 while it boots is a failure with its exit', async () => {
    await tree(backend, async () => {
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor('dies', { module: moduleOf('exits-at-import') })
          await (portal as never as { call(name: string): Promise<unknown> }).call('x')
        }),
      )
      expect(error).toBeInstanceOf(ActorFailure)
      expect(error).toMatchObject({ exitCode: 2, backend })
    })
  })

  test('R-325 R-806 without a word is named with backend and exit', async () => {
    await tree(backend, async () => {
      let waited: unknown[] = []
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          waited = await Promise.all([failure(portal.call('napping', 60_000)), failure(portal.call('exitWith', 3))])
          throw waited[1]
        }),
      )
      expect(error).toBeInstanceOf(ActorFailure)
      expect(error.message).toMatch(new RegExp(`actor rude \\(${backend}, .*\\) died: rc=3`))
      for (const [i, call] of ['napping', 'exitWith'].entries()) {
        expect(waited[i]).toMatchObject({ actor: { during: `call rude.${call}`, backend, exitCode: 3, signal: null } })
        expect(waited[i]).toMatchObject({ name: 'TransportClosed', by: 'peer', cause: error })
        expect((waited[i] as Error).message).toMatch(
          new RegExp(`^call rude.${call}: actor rude@\\w+ \\(${backend}, (pid|thread) \\d+\\) has ended: rc=3$`),
        )
      }
      expect((waited[0] as Error).stack).toMatch(/rc=3\n\s+at .*errors\.test\.ts/)
      // Nothing has failed where exit code 0 was not asked for: the call says it all.
      const orderly = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          await failure(portal.call('exitWith', 0))
          // Nothing can begin there any more, for the same reason.
          await portal.call('exclaim', 'too late')
        }),
      )
      expect(orderly.message).toMatch(/^call rude.exclaim: actor rude@\w+ \(\w+, \w+ \d+\) has ended: rc=0$/)
    })
  })
})

describe.each(PROCESS_BACKENDS)('a process of %s that dies', (backend) => {
  test('R-325 by a signal is named with it', async () => {
    await tree(backend, async () => {
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          const { pid } = await portal.call('facts')
          process.kill(pid, 'SIGKILL')
          await sleep(60_000)
        }),
      )
      expect(error).toMatchObject({ name: 'ActorFailure', signal: 'SIGKILL', code: 'HARROW_ACTOR_DIED' })
    })
  })

  test('R-416 R-325 under a send that waits for the channel is told to that very send', async () => {
    await tree(backend, async () => {
      let seen: unknown
      let remote: unknown
      const error = await failure(
        openNursery(async (an) => {
          const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
          const { pid } = await portal.call('whoAmI')
          await portal.openContext('deaf', [60_000], async (ctx) =>
            ctx.openStream(async (stream) => {
              process.kill(pid, 'SIGSTOP')
              const block = Buffer.alloc(65_536)
              const sending = failure(
                (async () => {
                  for (;;) await stream.send(block as never)
                })(),
              )
              await eventually('it waits for the channel', () => currentTask()?.wait?.by === 'the channel')
              process.kill(pid, 'SIGKILL')
              seen = await sending
              remote = ctx.remoteError
              throw seen
            }),
          )
        }),
      )
      expect(seen).toBe(remote)
      expect((seen as Error).message).toMatch(
        /^context tally.deaf: actor tally@\w+ \(\w+, pid \d+\) has ended: signal=SIGKILL$/,
      )
      expect((seen as Error).cause).toBe(error)
    })
  })

  test('R-142 whose program cannot be started is told', async () => {
    await tree(backend, async () => {
      const error = await failure(
        openNursery(async (an) => {
          // A fork has no program; that it cannot be where it is to be is the same kind of failure.
          const spawnOpts = backend === 'zygote' ? { cwd: '/no/such/folder' } : { execPath: '/no/such/program' }
          await an.startActor('nothing', { module: TALLY, spawnOpts })
        }),
      )
      expect(error).toBeInstanceOf(ActorFailure)
      expect(error.message).toContain('ENOENT')
    })
  })
})
