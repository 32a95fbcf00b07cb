import { defineConfig } from 'vitest/config'
import { harrow } from './harness/index.ts'
import { BUILT, builtRuntime } from './test/built-runtime.ts'
import { LongestFirst } from './test/longest-first.ts'

export default defineConfig({
  // Our own suite runs under our own plugin.
  // pidusage, our oracle, keeps a descriptor for each process that it was asked about.
  plugins: [harrow({ ignoreLeaks: [{ kind: 'Descriptor', site: 'node_modules/pidusage' }] }), builtRuntime()],
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/hangs/corpus/**', 'test/hangs/variants/**', 'test/fixtures/**'],
    // Set by `harrow test --hammer`.
    setupFiles: process.env.HARROW_HAMMER ? ['test/hammer-probe.ts'] : [],
    server: { deps: { external: [BUILT] } },
    sequence: { sequencer: LongestFirst },
    pool: 'forks',
    maxWorkers: 2,
    // Bounds of what hangs, not of what is slow: the suite also runs several times at once (npm run hammer).
    testTimeout: 60_000,
    hookTimeout: 30_000,
  },
})
