import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig, type ViteUserConfig } from 'vitest/config'

// Our own suite runs under our own plugin.
const plugin = join(import.meta.dirname, 'harness/index.ts')
const plugins: ViteUserConfig['plugins'] = existsSync(plugin) ? [(await import(plugin)).harrow()] : []

export default defineConfig({
  plugins,
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/hangs/corpus/**', 'test/fixtures/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
