/** What programs do that do not go by the examples: each of these once lost something, or waited for ever. */
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { failAfter, findActor, moveOnAfter, openNursery, sleep, waitForActor } from '../../src/index.ts'
import type * as Anger from '../fixtures/actors/anger.ts'
import { BACKENDS, eventually, failure, inFolder, moduleOf, tree } from './world.ts'

const ANGER = moduleOf('anger')
const LIMIT_MS = 30_000

describe.each(BACKENDS)('actors of %s', (backend) => {
  test('R-419 a buffer may be filled anew as soon as it was sent, and so may one that was given as a result', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Anger>('sink', { module: ANGER })
        for (const bytes of [1024, 4096, 100_000]) {
          const seen = await portal.openContext('firstBytes', [], async (ctx) => {
            await ctx.openStream(async (stream) => {
              const buffer = Buffer.alloc(bytes)
              for (let n = 0; n < 6; n++) await stream.send(buffer.fill(n))
            })
            return await ctx.waitForResult()
          })
          expect(seen).toEqual([0, 1, 2, 3, 4, 5])
        }
        const [one, two] = [await portal.call('fill', 1), await portal.call('fill', 2)]
        expect([one[0], two[0]]).toEqual([1, 2])
        await portal.cancelActor()
      })
    })
  })

  test('R-508 R-524 a portal that was found lets go of connections of its own only, and only once', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Anger>('linked', { module: ANGER })
        await eventually('it is registered', () => findActor('linked'))
        {
          await using found = (await findActor<typeof Anger>('linked')) ?? undefined
          expect(await found?.call('same', 1)).toBe(1)
        }
        const [first, second] = [await findActor<typeof Anger>('linked'), await findActor<typeof Anger>('linked')]
        await first?.close()
        await first?.close()
        expect(await second?.call('same', 2)).toBe(2)
        await second?.close()
        await portal.close()
        // The link to the child is none of theirs.
        expect(await portal.call('same', 3)).toBe(3)
        await portal.cancelActor()
      })
    })
  })

  test('R-211 a child that does not acknowledge its cancellation is made to end', async () => {
    const deadlines = { hardKillAfter: 500, threadAbandon: 500 }
    await inFolder(async (folder) => {
      await tree(
        backend,
        async (root) => {
          const over = await failAfter(LIMIT_MS, () =>
            openNursery(async (an) => {
              const portal = await an.startActor<typeof Anger>('busy', { module: ANGER })
              portal.call('blockFor', 600_000, `${folder}/begun`).catch(() => {})
              await eventually('it blocks', () => existsSync(`${folder}/begun`))
              expect(await portal.cancelActor({ timeoutMs: 100 })).toBe(false)
              return 'over'
            }),
          )
          expect(over).toBe('over')
          expect([...root.nurseries]).toEqual([])
        },
        { deadlines },
      )
    })
  })

  test('R-128 a start that is under way when its nursery closes leaves no actor behind', async () => {
    await tree(backend, async (root) => {
      let start: Promise<unknown> | undefined
      const error = await failure(
        openNursery(async (an) => {
          start = an.startActor('late', { module: ANGER })
          start.catch(() => {})
          throw new RangeError('the body fails first')
        }),
      )
      expect(error).toBeInstanceOf(RangeError)
      expect(await failure(start as Promise<unknown>)).toMatchObject({ name: 'RuntimeFailure' })
      expect([...root.nurseries]).toEqual([])
    })
  })

  test('R-269 a send that was given up does not keep the failure of the far side from the body', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Anger>('fails', { module: ANGER })
        const error = await failAfter(LIMIT_MS, () =>
          failure(
            portal.openContext('failsWhenTold', [], async (ctx) => {
              await ctx.openStream(async (stream) => {
                const full = await moveOnAfter(500, async () => {
                  for (;;) await stream.send(0)
                })
                expect(full.timedOut).toBe(true)
                await portal.call('tell')
                await sleep(600_000)
              })
            }),
          ),
        )
        expect(error.message).toContain('told to fail')
        await portal.cancelActor()
      })
    })
  })

  test('R-416 items that cannot travel take no room from those that can', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Anger>('sink', { module: ANGER })
        const seen = await portal.openContext('firstBytes', [], async (ctx) => {
          await ctx.openStream(async (stream) => {
            const bad = (() => {}) as unknown as Uint8Array
            for (let n = 0; n < 100; n++) expect((await failure(stream.send(bad))).name).toBe('MsgTypeError')
            await failAfter(LIMIT_MS, () => stream.send(new Uint8Array([7])))
          })
          return await ctx.waitForResult()
        })
        expect(seen).toEqual([7])
        await portal.cancelActor()
      })
    })
  })
})

test('R-505 who waits for a name at a registrar that is gone is told, and can be cancelled', async () => {
  await tree('thread', async () => {
    await inFolder(async (folder) => {
      const registryAddrs = [`unix:${folder}/none.sock`]
      expect((await moveOnAfter(100, () => waitForActor('nobody', { registryAddrs }))).timedOut).toBe(true)
      const error = await failure(waitForActor('nobody', { registryAddrs }))
      expect(error.message).toContain('none.sock')
    })
  })
})
