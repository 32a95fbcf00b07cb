// npm run example:pipeline: numbers through two actors, each at its own pace.
import { openNursery, openTaskNursery } from 'harrow'

const COUNT = 10_000
const module = new URL('./stages.ts', import.meta.url)
type Stages = typeof import('./stages.ts')

const total = await openNursery(async (an) => {
  const [doubler, summer] = await Promise.all([
    an.startActor<Stages>('doubler', { module }),
    an.startActor<Stages>('summer', { module }),
  ])
  const result = await summer.openContext('sum', [], async (out) => {
    await out.openStream(async (sums) => {
      await doubler.openContext('double', [], async (ctx) => {
        await ctx.openStream(async (stream) => {
          await openTaskNursery(async (nursery) => {
            nursery.spawn(async () => {
              for (let n = 1; n <= COUNT; n++) await stream.send(n)
              stream.end()
            })
            for await (const n of stream) await sums.send(n)
          })
        })
      })
      sums.end()
    })
    return await out.waitForResult()
  })
  await an.cancel()
  return result
})

console.log(`the sum of ${COUNT} doubled numbers is ${total}`)
