import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  ContextCancelled,
  currentIpcCtx,
  openNursery,
  openTaskNursery,
  sleep,
  TransportClosed,
} from '../../src/index.ts'
import { parseAddress } from '../../src/wire/address.ts'
import { greetPeer } from '../../src/wire/handshake.ts'
import { dial } from '../../src/wire/listener.ts'
import { type Message, Msg } from '../../src/wire/messages.ts'
import type * as Nest from '../fixtures/actors/nest.ts'
import type * as Rude from '../fixtures/actors/rude.ts'
import type * as Tally from '../fixtures/actors/tally.ts'
import { addressesOf, BACKENDS, eventually, failure, inFolder, NEST, PATIENT, RUDE, TALLY, tree } from './world.ts'

describe.each(BACKENDS)('who cancelled whom, on %s', (backend) => {
  test('R-260 a context that its parent cancels ends without a word', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const ctx = await portal.openContext('stubborn', [], async (ctx, first) => {
          expect(first).toBe('here')
          await ctx.cancel()
          const outcome = await ctx.waitForResult()
          expect(outcome).toBeInstanceOf(ContextCancelled)
          expect(ctx.scope?.cancelled).toBe(false)
          return ctx
        })
        expect(ctx.cancelCalled).toBe(true)
        expect(ctx.cancelAcked).toBe(true)
        expect(ctx.outcome).toBe(ctx.remoteError)
        expect(ctx.maybeError).toBe(ctx.remoteError)
        expect(ctx.localError).toBe(ctx.remoteError)
        expect(ctx.canceller).toEqual(['root', root.aid.uuid])
        await portal.cancelActor()
      })
    })
  })

  test('R-261 a context that its endpoint cancels says so', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        const error = await failure(portal.openContext('cancelsItself', [], async () => await sleep(60_000)))
        expect(error).toMatchObject({ name: 'ContextCancelled', canceller: ['tally', portal.aid.uuid] })
        expect(error.message).toContain('cancelled itself')
        await portal.cancelActor()
      })
    })
  })

  test('R-262 a cancel after the result changes nothing', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        await portal.openContext('returnsAtOnce', ['early'], async (ctx) => {
          expect(await ctx.waitForResult()).toBe('early')
          await ctx.cancel()
          expect([ctx.outcome, ctx.maybeError, ctx.cancelAcked]).toEqual(['early', null, false])
        })
        await portal.cancelActor()
      })
    })
  })

  test('R-263 cancelling the actor under a context raises that in the context', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const seen: unknown[] = []
        const error = await failure(
          portal.openContext('stubborn', [], async (ctx) => {
            await portal.cancelActor()
            seen.push(await failure(ctx.waitForResult()))
            throw seen[0]
          }),
        )
        expect(error).toBe(seen[0])
        expect(error).toMatchObject({ name: 'ContextCancelled', canceller: ['root', root.aid.uuid] })
      })
    })
  })

  test('R-264 R-265 a third actor that cancels is named, and other contexts go on', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const target = await an.startActor<typeof Rude>('target', { module: RUDE })
        const bystander = await an.startActor<typeof Rude>('bystander', { module: RUDE })
        const canceller = await an.startActor<typeof Nest>('canceller', { module: NEST })
        await bystander.openContext('stubborn', [], async (other) => {
          const held: {
            ctx?: { canceller: unknown; cancelCalled: boolean; cancelAcked: boolean; remoteError: unknown }
          } = {}
          const error = await failure(
            target.openContext('stubborn', [], async (ctx) => {
              held.ctx = ctx
              expect(await canceller.call('cancelOther', 'target')).toBe(true)
              await sleep(60_000)
            }),
          )
          expect(error).toMatchObject({ name: 'ContextCancelled', canceller: ['canceller', canceller.aid.uuid] })
          expect(held.ctx?.canceller).toEqual(['target', target.aid.uuid])
          expect([held.ctx?.cancelCalled, held.ctx?.cancelAcked]).toEqual([false, false])
          expect(held.ctx?.remoteError).toBe(error)
          expect(other.remoteError).toBe(undefined)
          await other.cancel()
        })
        await an.cancel()
      })
    })
  })

  test('R-266 R-268 R-833 an error that was there before the cancellation is what arrives', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const seen: unknown[] = []
        const error = await failure(
          portal.openContext('failsThenCleans', [200], async (ctx) => {
            await ctx.cancel()
            seen.push(ctx.remoteError)
            await ctx.waitForResult()
          }),
        )
        expect(error).toMatchObject({
          name: 'RemoteActorError',
          boxedTypeName: 'TypeError',
          remoteMessage: 'thrown before',
        })
        expect(seen).toEqual([error])
        await portal.cancelActor()
      })
    })
  })

  test('R-267 an error of the body is not replaced by the echo of its own cleanup', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const mine = new Error('mine')
        const error = await failure(
          portal.openContext('stubborn', [], async (ctx) => {
            try {
              throw mine
            } finally {
              await ctx.cancel()
            }
          }),
        )
        expect(error).toBe(mine)
        await portal.cancelActor()
      })
    })
  })

  test('R-269 a cancel from another task reaches whoever waits on the context', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        await portal.openContext('stubborn', [], async (ctx) => {
          await openTaskNursery(async (nursery) => {
            const waiting = nursery.spawn(() => ctx.waitForResult())
            await eventually('it waits', () => waiting.wait)
            await ctx.cancel()
            expect(await waiting.result).toBeInstanceOf(ContextCancelled)
          })
        })
        await portal.cancelActor()
      })
    })
  })

  test('R-269 a cancel from outside of the body interrupts a body that waits for something else', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const held: { ctx?: { cancel(): Promise<void>; cancelAcked: boolean } } = {}
        await openTaskNursery(async (nursery) => {
          const entering = nursery.spawn(() =>
            portal.openContext('stubborn', [], async (ctx) => {
              held.ctx = ctx
              await sleep(600_000)
              return 'slept'
            }),
          )
          await eventually('its body waits', () => held.ctx && entering.wait?.reason === 'timer')
          await held.ctx?.cancel()
          expect(await entering.result).toBe(undefined)
        })
        expect(held.ctx?.cancelAcked).toBe(true)
        await portal.cancelActor()
      })
    })
  })

  test('R-271 a task is cancelled only by the channel that started it', async () => {
    await tree(backend, async (root) => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
        const mine = portal.call('napping', 60_000).then(
          () => 'awake',
          (error: { name: string }) => error.name,
        )
        await portal.call('facts')
        const [cid = 0] = [...portal.peer.asked.entries()].map(([id]) => id)
        const [address = ''] = await addressesOf(root, portal.aid.uuid)
        const transport = await dial(parseAddress(address), { limitMs: 5000 })
        const self = { name: 'stranger', uuid: 'stranger' }
        const { channel } = await greetPeer(transport, { self, role: 'peer', registrar: false, limitMs: 5000 })
        const answers: Message[] = []
        channel.start(
          (message) => answers.push(message),
          () => {},
        )
        // What is unknown on a channel is answered as done.
        channel.send([Msg.cancel, cid])
        await eventually('it is answered', () => answers.length > 0)
        expect(answers).toEqual([[Msg.cancelAck, cid]])
        channel.destroy()
        await portal.call('facts')
        expect(portal.peer.asked.get(cid)).toBeDefined()
        await portal.peer.cancelTask(cid)
        expect(await mine).toBe('ContextCancelled')
        await portal.cancelActor()
      })
    })
  })

  test('R-255 R-316 what a channel has started ends with it, and nothing else does', async () => {
    await inFolder(async (folder) => {
      await tree(backend, async () => {
        await openNursery(async (an) => {
          const target = await an.startActor<typeof Rude>('target', { module: RUDE })
          const other = await an.startActor<typeof Nest>('other', { module: NEST })
          const mine = target.call('napping', 60_000).then(
            () => 'awake',
            (error: { name: string }) => error.name,
          )
          const error = await failure(
            other.openContext('holdsCall', ['target', `${folder}/seen`], async () => {
              // Its parent ends it without a word to those that it is connected to.
              const child = [...an.children.values()].find(({ aid }) => aid.uuid === other.aid.uuid)
              await child?.stop({ hard: true })
              await sleep(60_000)
            }),
          )
          expect(error).toBeInstanceOf(TransportClosed)
          // It is there before it is written.
          await eventually(
            'its call has ended',
            () => existsSync(`${folder}/seen`) && readFileSync(`${folder}/seen`, 'utf8') !== '',
          )
          expect(readFileSync(`${folder}/seen`, 'utf8')).toMatch(
            /^ContextCancelled true the channel to other, .* gone$/m,
          )
          expect(await target.call('exclaim', 'here')).toBe('here!')
          await target.cancelActor()
          expect(await mine).toBe('ContextCancelled')
        })
      })
    })
  })

  test('R-274 several actors of one name are all cancelled', async () => {
    const body = () =>
      openNursery(async (an) => {
        for (let i = 0; i < 4; i++) await an.startActor('doggy', { module: TALLY })
        await an.cancel()
        expect(an.size).toBe(0)
        expect(an.cancelledCaught).toBe(true)
      })
    await tree(backend, body, PATIENT)
  })

  test('R-406 the current context is that of the endpoint and of the body', async () => {
    await tree(backend, async () => {
      await openNursery(async (an) => {
        const portal = await an.startActor<typeof Tally>('tally', { module: TALLY })
        expect(currentIpcCtx()).toBe(undefined)
        await portal.openContext('returnsAtOnce', ['x'], async (ctx) => expect(currentIpcCtx()).toBe(ctx))
        expect(currentIpcCtx()).toBe(undefined)
        await portal.cancelActor()
      })
    })
  })
})
