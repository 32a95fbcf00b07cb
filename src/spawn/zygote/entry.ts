/**
 * First module of the zygote of actors; what asks it for children is {@link file://./client.ts}. Everything else is loaded through Node's
 * compile cache, which has to be switched on before.
 */
import { enableCompileCache } from 'node:module'

// Nothing else is imported here. Without effect where the environment has decided on a cache itself.
const folder = process.env.HARROW_COMPILE_CACHE
if (folder) enableCompileCache(folder)

const { run } = await import('./main.ts')
await run(async () => (await import('./actor-life.ts')).actorLife)
