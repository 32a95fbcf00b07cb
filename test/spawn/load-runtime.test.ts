import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openNursery } from '../../src/index.ts'
import { BACKENDS, inFolder, moduleOf, tree } from '../actor/world.ts'
import type * as Where from '../fixtures/actors/where.ts'

const LIVES = BACKENDS.filter((backend) => backend !== 'zygote' && backend !== 'vm')
const CODE = /^runtime-[0-9a-f]{16}-(\w+)-v[\d.]+-\w+.*\.code$/

test.for(LIVES)('what a child of %s compiles is kept for the next one, and anything else is not run', (backend) =>
  inFolder(async (folder) => {
    const cache = join(folder, 'cache')
    const live = (own: string): Promise<void> =>
      tree(backend, () =>
        openNursery(async (an) => {
          const env = { HARROW_COMPILE_CACHE: own }
          const module = moduleOf('where')
          const portal = await an.startActor<typeof Where>('cached', { module, env })
          expect(await portal.call('name')).toBe('cached')
          expect(await portal.call('nodeCache')).toBe(process.env.NODE_COMPILE_CACHE)
          await portal.cancelActor()
        }),
      )
    const file = (): string => {
      const [name, ...others] = readdirSync(cache).filter((one) => one.includes('.code'))
      expect(others).toEqual([])
      expect(CODE.exec(name ?? '')?.[1]).toBe(backend)
      return join(cache, name!)
    }

    await live(cache)
    const path = file()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const code = readFileSync(path)
    // A time that no write of ours can have.
    const long = new Date(0)
    utimesSync(path, long, long)
    await live(cache)
    expect(statSync(path).mtimeMs, 'it was taken').toBe(0)

    // Of another version of V8, whose number is in the second word; the next child makes it anew.
    code.writeUInt32LE(~code.readUInt32LE(4) >>> 0, 4)
    writeFileSync(path, code)
    utimesSync(path, long, long)
    await live(cache)
    expect(statSync(file()).mtimeMs, 'it was made anew').toBeGreaterThan(0)

    // No folder at all: it is started all the same.
    const none = join(folder, 'none')
    writeFileSync(none, '')
    await live(none)
  }),
)

const BORN_WITH_IT = BACKENDS.filter((backend) => backend === 'zygote' || backend === 'vm')

test.for(BORN_WITH_IT)('a child of %s has the runtime from its parent: it keeps no code', (backend) =>
  inFolder(async (folder) => {
    const cache = join(folder, 'cache')
    await tree(backend, () =>
      openNursery(async (an) => {
        const module = moduleOf('where')
        const portal = await an.startActor<typeof Where>('cached', { module, env: { HARROW_COMPILE_CACHE: cache } })
        expect(await portal.call('name')).toBe('cached')
        await portal.cancelActor()
      }),
    )
    expect(existsSync(cache) ? readdirSync(cache).filter((name) => CODE.test(name)) : []).toEqual([])
  }),
)
