import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { canWatch, type Effect, watchSideEffects } from '../../harness/pool/zygote/side-effects.ts'
import { UnsafeImports } from '../../harness/pool/zygote/task.ts'

const api = { afterEach: (_: () => void) => {}, expect: { extend() {} } }
let folder: string

beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'harrow-effects-')))
  mkdirSync(join(folder, 'node_modules/vitest'), { recursive: true })
  mkdirSync(join(folder, 'node_modules/p'), { recursive: true })
  writeFileSync(join(folder, 'node_modules/vitest/index.js'), 'exports.expect = {}')
  write('lib.cjs', 'exports.lib = 1')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function write(name: string, text: string): string {
  const path = join(folder, 'node_modules/p', name)
  writeFileSync(path, text)
  return path
}

/** With the API global, as it is with `globals: true`. */
async function effectOf(name: string, text: string): Promise<Effect | undefined> {
  const path = write(name, text)
  Object.assign(globalThis, api)
  onTestFinished(() => {
    for (const name of Object.keys(api)) Reflect.deleteProperty(globalThis, name)
  })
  const ended = watchSideEffects(path, join(folder, 'node_modules/vitest'), api)
  // One that throws has done what it did before.
  await import(pathToFileURL(path).href).catch(() => {})
  const effect = ended()
  expect(Object.getOwnPropertyDescriptor(globalThis, 'afterEach')?.value).toBe(api.afterEach)
  return effect
}

test.skipIf(!canWatch).each([
  ['hook.mjs', `if (typeof afterEach === 'function') afterEach(() => {})`, 'it uses afterEach'],
  ['matchers.cjs', `require('./lib.cjs'); globalThis.expect.extend({})`, 'it uses expect'],
  ['of-vitest.mjs', `import { expect } from '../vitest/index.js'`, 'it imports vitest'],
  ['of-vitest.cjs', `require('../vitest/index.js')`, 'it imports vitest'],
  ['global.mjs', `globalThis.polyfill = 1`, 'it changes polyfill of globalThis'],
  ['patch.cjs', `Promise.prototype.done = () => {}`, 'it changes done of Promise.prototype'],
  ['trace.cjs', `Error.stackTraceLimit = 99`, 'it changes stackTraceLimit of Error'],
  ['env.mjs', `process.env.HARROW_EFFECT = '1'`, 'it changes HARROW_EFFECT of process.env'],
  ['listens.mjs', `process.on('SIGWINCH', () => {})`, 'it changes SIGWINCH of listeners of process'],
])('%s: %s', async (name, text, why) => {
  onTestFinished(() => {
    Reflect.deleteProperty(globalThis, 'polyfill')
    Reflect.deleteProperty(Promise.prototype, 'done')
    Error.stackTraceLimit = stackTraceLimit
    delete process.env.HARROW_EFFECT
    process.removeAllListeners('SIGWINCH')
  })
  const { stackTraceLimit } = Error
  expect((await effectOf(name, text))?.why).toBe(why)
})

test.skipIf(!canWatch)('what only computes, keeps something for itself or uses Node has no effect', async () => {
  onTestFinished(() => void Reflect.deleteProperty(globalThis, '__p__'))
  const text = `import './lib.cjs'
import { readFileSync } from 'node:fs'
globalThis.__p__ = new Map()
export const text = readFileSync(new URL(import.meta.url), 'utf8') + typeof crypto.subtle + typeof window + navigator.language`
  expect(await effectOf('clean.mjs', text)).toBeUndefined()
})

test.skipIf(!canWatch)('what such a module imports itself may be loaded in its place', async () => {
  const text = `import fs from 'node:fs'
import { lib } from './lib.cjs'
import { expect } from '../vitest/index.js'
throw new Error('in vain')`
  const effect = await effectOf('instead.mjs', text)
  expect(effect).toEqual({ why: 'it imports vitest', instead: [join(folder, 'node_modules/p/lib.cjs')] })
})

test('what a zygote has found is read from the words with which it ends', () => {
  const found = [{ path: '/a b/c.js', why: 'it uses expect', instead: ['/d.js'] }]
  const { stack } = new UnsafeImports(found)
  expect(UnsafeImports.in(new Error(`the zygote could not start: ${stack}`))).toEqual(found)
  expect(UnsafeImports.in(new Error('the zygote is gone'))).toEqual([])
})
