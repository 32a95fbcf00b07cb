/** First module of a zygote of workers; it is started by {@link file://./zygotes.ts}. */
import { enableCompileCache } from 'node:module'
import { setFlagsFromString } from 'node:v8'

// Nothing else is imported here: from now on modules come from the cache.
const folder = process.env.HARROW_COMPILE_CACHE
if (folder)
  enableCompileCache(folder)

  // Before the heap grows.
;(await import('../../../src/spawn/zygote/address-space.ts')).keepTogether()

// What is ours is compiled whole, once, and not piece by piece in each child. The zygote takes it back after that.
setFlagsFromString('--no-lazy')
const { run } = await import('../../../src/spawn/zygote/main.ts')
await run(async () => (await import('./life.ts')).loadLife())
