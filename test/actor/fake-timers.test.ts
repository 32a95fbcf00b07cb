import { afterEach, describe, expect, test, vi } from 'vitest'
import { openNursery } from '../../src/index.ts'
import type * as Rude from '../fixtures/actors/rude.ts'
import { BACKENDS, failure, RUDE, tree } from './world.ts'

afterEach(() => {
  vi.useRealTimers()
})

describe.each(BACKENDS)('below fake timers an actor of %s', (backend) => {
  test('R-211 that blocks its event loop is ended within its limits', async () => {
    await tree(
      backend,
      async () => {
        vi.useFakeTimers()
        await openNursery(async (an) => {
          const portal = await an.startActor<typeof Rude>('rude', { module: RUDE })
          expect(await portal.call('exclaim', 'there')).toBe('there!')
          // Its message is read before that of the cancel, and nothing after it.
          const spinning = failure(portal.call('spin', 60_000))
          await an.cancel()
          expect((await spinning).name).toMatch(/TransportClosed|ContextCancelled|RemoteActorError/)
          expect(an.size).toBe(0)
          expect(an.cancelledCaught).toBe(false)
        })
        // Nothing of ours waits for a clock that the test holds.
        expect(vi.getTimerCount()).toBe(0)
      },
      { deadlines: { cancelAck: 200, hardKillAfter: 400 } },
    )
  })
})
