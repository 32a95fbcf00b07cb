/** The stages of a pipeline: each takes items from one stream and gives items to another. */
import { type Context, context } from 'harrow'

export const double = context(async (ctx: Context<undefined, number, number>) => {
  ctx.started()
  await ctx.openStream(async (stream) => {
    for await (const n of stream) await stream.send(2 * n)
  })
})

export const sum = context(async (ctx: Context<undefined, never, number, number>) => {
  ctx.started()
  let total = 0
  await ctx.openStream(async (stream) => {
    for await (const n of stream) total += n
  })
  return total
})
