import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { DumpRecord } from '../../src/dump/schema.ts'
import { makeProject } from '../project.ts'
import { config, readRecordFile } from './suite.ts'

const FILES = {
  'flusher.ts': `
    import { context } from 'harrow'
    export const flusher = context(async (ctx) => {
      ctx.started()
      await ctx.openStream(async (stream) => { for await (const item of stream) void item })
      return 'flushed'
    })`,
  'ring.test.ts': `
    import { openNursery, openRoot } from 'harrow'
    import { regAddr } from 'harrow/vitest'
    import { test } from 'vitest'
    test('flushes', async () => {
      await openRoot({ registryAddrs: [await regAddr()] }, () => openNursery(async (an) => {
        const portal = await an.startActor<typeof import('./flusher.ts')>('tally', { module: new URL('./flusher.ts', import.meta.url) })
        await portal.openContext('flusher', [], async (ctx) => {
          await ctx.waitForResult()
        })
      }))
    })`,
  'stubborn.ts': `
    import { shield, sleep } from 'harrow'
    const begun = Promise.withResolvers<boolean>()
    export async function rest() {
      await shield(30000, 'a rest', () => {
        begun.resolve(true)
        return sleep(20000)
      })
    }
    export async function ready() { return await begun.promise }`,
  'stop.test.ts': `
    import { openNursery, openRoot } from 'harrow'
    import { regAddr } from 'harrow/vitest'
    import { test } from 'vitest'
    test('stops', async () => {
      await openRoot({ registryAddrs: [await regAddr()], deadlines: { cancelAck: 20_000, nurseryCancel: 20_000 } }, () => openNursery(async (an) => {
        const portal = await an.startActor<typeof import('./stubborn.ts')>('stubborn', { module: new URL('./stubborn.ts', import.meta.url) })
        portal.call('rest').catch(() => {})
        await portal.call('ready')
        await an.cancel()
      }))
    })`,
}

// One run for both: they hang side by side.
describe.each(['spawn', 'thread'])('a hang with actors of %s', (backend) => {
  test('R-731 a ring of actors, and one that was asked to end and does not, are found, with their tasks in the dump', async () => {
    const project = makeProject({ 'vitest.config.ts': config('{}', 'testTimeout: 3000'), ...FILES })
    try {
      const run = await project.vitest([], 110_000, { HARROW_BACKEND: backend })
      const { hangs } = readRecordFile(project)
      const hangOf = (file: string) => hangs.find((hang) => hang.file === file)
      const ring = hangOf('ring.test.ts')
      expect(ring, run.output).toMatchObject({ class: 'actor-wait-cycle', test: ['flushes'] })
      expect(ring?.diagnosis).toContain('root waits')
      expect(ring?.diagnosis).toContain('tally waits')
      expect(ring?.culprit?.path).toBe('ring.test.ts')
      const dump = JSON.parse(readFileSync(join(project.folder, ring?.dump ?? ''), 'utf8')) as DumpRecord
      const tally = dump.actors.find(({ path }) => path === 'root/tally')
      expect(tally?.answered).toBe(true)
      expect(tally?.tasks.find(({ name }) => name === 'flusher')?.wait).toMatchObject({
        reason: 'stream item',
        by: 'root',
      })
      // The actors have said it all: the test does not run a second time.
      expect(dump.lost).toBe(undefined)

      const stop = hangOf('stop.test.ts')
      expect(stop, run.output).toMatchObject({ class: 'actor-not-stopping' })
      expect(stop?.diagnosis).toContain('root/stubborn')
      expect(stop?.diagnosis).toContain('its task rest has not ended')
    } finally {
      project.remove()
    }
  }, 120_000)
})
