import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: { include: ['*.case.ts'], setupFiles: ['./setup.ts'], testTimeout: 15_000, retry: 0, reporters: ['dot'] },
})
