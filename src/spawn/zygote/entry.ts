/**
 * First module of the zygote of actors; what asks it for children is {@link file://./client.ts}. Everything else is loaded through Node's
 * compile cache, which has to be switched on before.
 */
import { enableCompileCache } from 'node:module'
import { setFlagsFromString } from 'node:v8'

// Nothing else is imported here. Without effect where the environment has decided on a cache itself.
const folder = process.env.HARROW_COMPILE_CACHE
if (folder) enableCompileCache(folder)

// Before the heap grows.
const { keepTogether } = await import('./address-space.ts')
keepTogether()

// What is ours is compiled whole, once, and not piece by piece in each child. The zygote takes it back after that.
setFlagsFromString('--no-lazy')
const { run } = await import('./main.ts')
await run(async () => (await import('./actor-life.ts')).actorLife)
