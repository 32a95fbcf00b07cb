/**
 * First module of a `spawn` actor; its parent's side is {@link file://./parent.ts}. Everything else is loaded through Node's
 * compile cache, which has to be switched on before.
 */
import { enableCompileCache } from 'node:module'
import { compileCacheFolder } from '../compile-cache.ts'

const folder = compileCacheFolder()
if (folder) enableCompileCache(folder)

await import('./main.ts')
