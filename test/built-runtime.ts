/**
 * The tests of the runtime run on the built package: an actor then starts at less than half the CPU time, and what is tested is
 * what users get. Their imports of `src` lead to `dist`, as `harrow` does, which their fixtures import; types stay those of the
 * source. In a process that has both there would be two runtimes.
 */
import { dirname, join, relative, resolve } from 'node:path'
import type { Plugin } from 'vitest/config'
import { root } from '../scripts/dev/checkout.ts'
import { whyStale } from '../scripts/dev/stamp.ts'

const OF_THE_RUNTIME = /^test[\\/](?:actor|chaos|spawn|fixtures[\\/]actors)[\\/]/

/** Files of the build are loaded by Node itself, so that there is one of each, whoever imports it. */
export const BUILT = /\/dist\/src\//

/** A dist that was not made from the sources as they are fails the files that would use it, with what to do. */
export function builtRuntime(): Plugin {
  let stale: string | false | undefined
  return {
    name: 'harrow-tests:built-runtime',
    enforce: 'pre',
    resolveId(source, importer) {
      if (importer === undefined || !OF_THE_RUNTIME.test(relative(root, importer))) return undefined
      const path = source === 'harrow' ? join(root, 'src', 'index.ts') : resolve(dirname(importer), source)
      const inside = relative(join(root, 'src'), path)
      if (!path.endsWith('.ts') || inside.startsWith('..')) return undefined
      stale ??= whyStale() ?? false
      if (stale) this.error(stale)
      return join(root, 'dist', 'src', inside).replace(/\.ts$/, '.js')
    },
    watchChange() {
      stale = undefined
    },
  }
}
