// npm run example:service: a service under supervision; Ctrl-C cancels it, and nothing is left behind.
import { isCancelled, openNursery } from 'harrow'

const most = Number(process.env.TICKS ?? Number.POSITIVE_INFINITY)

try {
  await openNursery(async (an) => {
    const portal = await an.startActor<typeof import('./clock.ts')>('clock', {
      module: new URL('./clock.ts', import.meta.url),
      output: 'pipe',
    })
    await portal.openContext('ticks', [100], async (ctx, first) => {
      console.log(`the clock is ${first}: press Ctrl-C`)
      await ctx.openStream(async (stream) => {
        for await (const n of stream) {
          console.log(`tick ${n}`)
          if (n === most) break
        }
      })
      await ctx.cancel()
    })
    await portal.cancelActor()
  })
  console.log('over')
} catch (error) {
  if (!isCancelled(error)) throw error
  console.log('interrupted, and all of it has ended')
  process.exitCode = 130
}
