import { harrow } from 'harrow/vitest'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  plugins: [harrow()],
  test: { testTimeout: 1500, maxWorkers: 2 },
})
