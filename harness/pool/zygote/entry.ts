/** First module of a zygote of workers; it is started by {@link file://./zygotes.ts}. */
import { enableCompileCache } from 'node:module'

// Nothing else is imported here: from now on modules come from the cache.
const folder = process.env.HARROW_COMPILE_CACHE
if (folder) enableCompileCache(folder)

const { run } = await import('../../../src/spawn/zygote/main.ts')
await run(async () => (await import('./life.ts')).loadLife())
