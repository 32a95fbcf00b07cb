/**
 * First module of a `fork` actor in a checkout; its parent's side is {@link file://./parent.ts}. In the package a script stands in
 * its place (entry.cjs), which does the same by {@link file://./../load-runtime.ts}.
 */
import { forkMain } from './main.ts'

// Set for this process alone, see withCompileCache().
if (process.env.NODE_COMPILE_CACHE === process.env.HARROW_COMPILE_CACHE) delete process.env.NODE_COMPILE_CACHE

await forkMain()
