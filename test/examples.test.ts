import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { childEnv, linkHarrow, root } from '../scripts/dev/checkout.ts'
import { runChild } from '../scripts/dev/child.ts'
import { inFolder } from './actor/world.ts'

const run = (name: string, backend: string, folder: string, env: Record<string, string> = {}) => {
  linkHarrow(join(root, 'examples/actors'))
  return runChild(process.execPath, ['--no-warnings', join(root, 'examples/actors', name, 'main.ts')], {
    cwd: root,
    env: childEnv({ HARROW_BACKEND: backend, HARROW_RUNTIME_DIR: folder, ...env }),
    limitMs: 60_000,
  })
}

describe.each(['spawn', 'fork', 'thread'])('the examples on %s', (backend) => {
  test('count, serve and pipe', async () => {
    await inFolder(async (folder) => {
      const words = await run('words', backend, folder)
      expect(words.code, words.output).toBe(0)
      expect(words.stdout).toMatch(/^\w+ \d+, /)
      const service = await run('service', backend, folder, { TICKS: '3' })
      expect(service.code, service.output).toBe(0)
      expect(service.stdout).toContain('tick 3')
      expect(service.stdout).toContain('over')
      const pipeline = await run('pipeline', backend, folder)
      expect(pipeline.stdout, pipeline.output).toContain('the sum of 10000 doubled numbers is 100010000')
      expect([...words.survivors, ...service.survivors, ...pipeline.survivors]).toEqual([])
    })
  }, 90_000)
})
