/** A service that ticks until it is cancelled, and says goodbye. */
import { type Context, context, currentActor, sleep } from 'harrow'

export const ticks = context(async (ctx: Context<string, number>, everyMs: number) => {
  currentActor().lifetimeStack.push(() => console.error('the clock has stopped'))
  ctx.started('ticking')
  await ctx.openStream(async (stream) => {
    for (let n = 1; ; n++) {
      await stream.send(n)
      await sleep(everyMs)
    }
  })
})
