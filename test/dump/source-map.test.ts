import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { transformWithOxc } from 'vite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMapper, isUserPath } from '../../src/dump/source-map.ts'
import type { SuspendedFunction } from '../../src/inspect/facts.ts'

let root = ''
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'harrow-maps-'))
  mkdirSync(join(root, 'src'))
  mkdirSync(join(root, 'dist'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const SOURCE = `interface Lock {
  held: boolean
}

export async function wait(lock: Lock): Promise<void> {
  if (lock.held) await new Promise(() => {
    lock.held = true
  })
}
`
/** 1-based position of a text. */
function find(code: string, text: string): { line: number; column: number } {
  const before = code.slice(0, code.indexOf(text)).split('\n')
  return { line: before.length, column: (before.at(-1) as string).length + 1 }
}
const none = (): undefined => undefined

describe('a mapper', () => {
  test("takes the map of vite's transform and reads the line from the source", async () => {
    const path = join(root, 'src', 'lock.ts')
    writeFileSync(path, SOURCE)
    const { code, map } = await transformWithOxc(SOURCE, path, { sourcemap: true })
    const generated = find(code, 'await new')
    expect(generated.line).not.toBe(6)
    for (const given of [map, JSON.stringify(map)]) {
      const mapper = createMapper((asked) => (asked === path ? given : undefined), root)
      expect(
        mapper.frame({
          fn: 'wait',
          at: { url: `${pathToFileURL(path)}?v=123`, ...generated },
          locals: { lock: 'Lock' },
        }),
      ).toEqual({
        fn: 'wait',
        site: { path: 'src/lock.ts', line: 6, column: 18 },
        source: 'if (lock.held) await new Promise(() => {',
        next: 'lock.held = true',
        locals: { lock: 'Lock' },
        user: true,
      })
    }
  })

  test.each(['inline', 'beside', 'file-url'])('follows the comment in the generated file (%s)', async (kind) => {
    const name = `lock-${kind}`
    const source = join(root, 'src', `${name}.ts`)
    const out = join(root, 'dist', `${name}.js`)
    writeFileSync(source, SOURCE)
    const { code, map } = await transformWithOxc(SOURCE, source, { sourcemap: true })
    const json = JSON.stringify({ ...map, sources: [`../src/${name}.ts`], sourcesContent: undefined })
    const url =
      kind === 'inline'
        ? `data:application/json;base64,${Buffer.from(json).toString('base64')}`
        : kind === 'beside'
          ? `${name}.js.map?x=1`
          : pathToFileURL(`${out}.map`).href
    writeFileSync(out, `${code}\n//# sourceMappingURL=${url}\n`)
    writeFileSync(`${out}.map`, json)
    const mapper = createMapper(none, root)
    expect(mapper.site({ url: out, ...find(code, 'await new') })).toEqual({
      path: `src/${name}.ts`,
      line: 6,
      column: 18,
    })
  })

  test.each([
    ['not JSON', '{{{'],
    ['no mappings', { version: 3, sources: [] }],
    ['empty mappings', { version: 3, sources: [''], mappings: '' }],
    ['wrong types', { version: 3, sources: 7, mappings: {} }],
    ['source out of range', { version: 3, sources: [], names: [], mappings: 'AACA' }],
    ['a number', 5],
  ])('keeps the generated position with a broken map: %s', (_name, map) => {
    const mapper = createMapper(() => map, root)
    expect(mapper.site({ url: join(root, 'x.js'), line: 1, column: 1 })).toEqual({ path: 'x.js', line: 1, column: 1 })
  })

  test('keeps the generated position when asking for the map throws', () => {
    const mapper = createMapper(() => {
      throw new Error('no')
    }, root)
    expect(mapper.site({ url: join(root, 'y.js'), line: 2, column: 3 })).toEqual({ path: 'y.js', line: 2, column: 3 })
  })

  test('asks for each map once', () => {
    let asked = 0
    const mapper = createMapper(() => {
      asked++
      return undefined
    }, root)
    for (let i = 1; i < 5; i++) mapper.site({ url: join(root, 'z.js'), line: i, column: 1 })
    expect(asked).toBe(1)
  })

  test('is not held up by a FIFO or a missing file under a source path', () => {
    const fifo = join(root, 'fifo.js')
    execFileSync('mkfifo', [fifo])
    const mapper = createMapper(none, root)
    for (const url of [fifo, join(root, 'gone.js'), root]) {
      expect(mapper.frame({ fn: '', at: { url, line: 1, column: 1 } }).source).toBeUndefined()
    }
  })

  test('reads no line of minified code and survives lines past the end', () => {
    const path = join(root, 'min.js')
    writeFileSync(path, `${'x;'.repeat(500)}\nok\n`)
    const mapper = createMapper(none, root)
    expect(mapper.frame({ fn: 'f', at: { url: path, line: 1, column: 9 } }).source).toBeUndefined()
    expect(mapper.frame({ fn: 'f', at: { url: path, line: 2, column: 1 } }).source).toBe('ok')
    expect(mapper.frame({ fn: 'f', at: { url: path, line: 99, column: 1 } }).source).toBeUndefined()
  })

  test('tells user code from Node, packages and evaluated text', () => {
    const mapper = createMapper(none, root)
    const user = (url: string): boolean => mapper.frame({ fn: '', at: { url, line: 1, column: 1 } }).user
    expect(user(join(root, 'a b#c', 'x.ts'))).toBe(true)
    expect(user('node:events')).toBe(false)
    expect(user(join(root, 'node_modules/x/y.js'))).toBe(false)
    expect(user(pathToFileURL(join(root, 'node_modules/x/y.js')).href)).toBe(false)
    expect(user('evalmachine.<anonymous>')).toBe(false)
    expect(user('')).toBe(false)
    expect(isUserPath(new URL('../../src/errors.ts', import.meta.url).pathname)).toBe(false)
    expect(isUserPath(new URL(import.meta.url).pathname)).toBe(true)
  })

  test('maps a suspended function to its await, else to its definition', () => {
    const path = join(root, 'src', 'lock.ts')
    const mapper = createMapper(none, root)
    const base: SuspendedFunction = {
      id: 7,
      fn: '',
      script: path,
      user: true,
      definedAt: { url: path, line: 5, column: 8 },
      at: { url: path, line: 6, column: 18 },
      awaitedBy: [1],
      owner: 'harrow:test:1',
      heldBy: [],
    }
    expect(mapper.awaitFrame(base)).toMatchObject({
      id: 7,
      fn: '<anonymous>',
      exact: true,
      site: { line: 6 },
      awaitedBy: [1],
    })
    expect(mapper.awaitFrame({ ...base, at: null })).toMatchObject({ exact: false, site: { line: 5 } })
    expect(mapper.awaitFrame({ ...base, at: null, definedAt: null })).toMatchObject({
      exact: false,
      site: { path: 'src/lock.ts', line: 1 },
    })
    expect(mapper.awaitFrame({ ...base, at: null, definedAt: null, script: '' }).site).toEqual({
      path: '<unknown>',
      line: 1,
    })
    expect(mapper.frame({ fn: '', at: null })).toEqual({
      fn: '<anonymous>',
      site: { path: '<unknown>', line: 1 },
      user: false,
    })
  })
})
