/** Imports nothing: it is loaded before the compile cache is on. */

/**
 * Folder of the compile cache of actors, `HARROW_COMPILE_CACHE` as their parent has set it; undefined where the environment
 * has decided otherwise.
 */
export function compileCacheFolder(): string | undefined {
  const { HARROW_COMPILE_CACHE, NODE_COMPILE_CACHE, NODE_DISABLE_COMPILE_CACHE } = process.env
  return NODE_COMPILE_CACHE || NODE_DISABLE_COMPILE_CACHE ? undefined : HARROW_COMPILE_CACHE
}
