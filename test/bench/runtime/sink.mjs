import { context } from '../../../dist/src/index.js'

export const sink = context(async (ctx) => {
  ctx.started()
  let bytes = 0
  await ctx.openStream(async (stream) => {
    for await (const item of stream) bytes += item.length
  })
  return bytes
})
