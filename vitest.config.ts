import { defineConfig } from 'vitest/config'
import { harrow } from './harness/index.ts'

export default defineConfig({
  // Our own suite runs under our own plugin.
  plugins: [harrow()],
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/hangs/corpus/**', 'test/fixtures/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
