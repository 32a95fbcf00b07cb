import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { DumpRecord } from '../../src/dump/schema.ts'
import { makeProject } from '../project.ts'
import { config, readRecordFile } from './suite.ts'

/** Runs one file with a hang in it and reads the record and the dump. */
async function hangOf(files: Record<string, string>, env: Record<string, string>) {
  const project = makeProject({ 'vitest.config.ts': config('{}', 'testTimeout: 3000'), ...files })
  try {
    const run = await project.vitest([], 90_000, env)
    const record = readRecordFile(project)
    const hang = record.hangs[0]
    const dump = hang?.dump
      ? (JSON.parse(readFileSync(join(project.folder, hang.dump), 'utf8')) as DumpRecord)
      : undefined
    return { run, hang, dump, hangs: record.hangs.length }
  } finally {
    project.remove()
  }
}

describe.each(['spawn', 'thread'])('a hang with actors of %s', (backend) => {
  test('R-731 a ring of actors that wait for each other is found, and their tasks are in the dump', async () => {
    const { hang, dump, run } = await hangOf(
      {
        'flusher.ts': `
          import { context } from 'harrow'
          export const flusher = context(async (ctx) => {
            ctx.started()
            await ctx.openStream(async (stream) => { for await (const item of stream) void item })
            return 'flushed'
          })`,
        'a.test.ts': `
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
      },
      { HARROW_BACKEND: backend },
    )
    expect(hang, run.output).toMatchObject({ class: 'actor-wait-cycle', test: ['flushes'] })
    expect(hang?.diagnosis).toContain('root waits')
    expect(hang?.diagnosis).toContain('tally waits')
    expect(hang?.culprit?.path).toBe('a.test.ts')
    // The actors have said it all: the test does not run a second time.
    expect(dump?.verdict.class).toBe('actor-wait-cycle')
    expect(dump?.lost).toBe(undefined)
    const tally = dump?.actors.find(({ path }) => path === 'root/tally')
    expect(tally?.answered).toBe(true)
    expect(tally?.tasks.find(({ name }) => name === 'flusher')?.wait).toMatchObject({
      reason: 'stream item',
      by: 'root',
    })
  }, 120_000)

  test('an actor that was asked to end and does not is named', async () => {
    const { hang, run } = await hangOf(
      {
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
        'a.test.ts': `
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
      },
      { HARROW_BACKEND: backend },
    )
    expect(hang, run.output).toMatchObject({ class: 'actor-not-stopping' })
    expect(hang?.diagnosis).toContain('root/stubborn')
    expect(hang?.diagnosis).toContain('its task rest has not ended')
  }, 120_000)
})
