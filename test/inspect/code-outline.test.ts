import { expect, test } from 'vitest'
import { blank, blocksOf, functionAt, outline } from '../../src/inspect/code-outline.ts'

/** Kind and name of the blocks, but for plain ones. */
function names(text: string): string[] {
  return [...blocksOf(outline(text))].filter(({ kind }) => kind !== 'block').map(({ kind, name }) => `${kind} ${name}`)
}

test('functions, classes, methods and arrows are told apart and have their names', () => {
  const text = `
    class Pool extends Base {
      waiting = []
      run = async (fn) => { await fn() };
      async take() { if (this.free) { return } }
      static async *walk(a, b) { for (const x of a) { yield x } }
      with(key) { return key }
      get size() { return 1 }
    }
    function outer(n = 2) { return async function inner() { while (n) { n-- } } }
    const api = { state: 1, async put(x) { }, get: function () { } };
    const arrow = () => new Promise((resolve) => queue.push(resolve));
    export default async (a, b) => { try { a() } catch (error) { b() } finally { } }`
  expect(names(text)).toEqual([
    'root ',
    'class Pool',
    'function outer',
    'object ',
    'function arrow',
    'function ',
    'function run',
    'function take',
    'function walk',
    'function with',
    'function size',
    'function inner',
    'function put',
    'function get',
    'function ',
  ])
})

test('the parameters of a function are known', () => {
  const root = outline('const f = async (task, [a, b]) => task(a); function g(x, y) { }')
  expect([...blocksOf(root)].filter(({ kind }) => kind === 'function').map(({ params }) => params)).toEqual([
    'task, [a, b]',
    'x, y',
  ])
})

test('brackets in strings, templates, comments and regular expressions do not count', () => {
  const text = [
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the code that is looked at
    'function a() { const s = "}"; const t = `}${ { x: `}` }.x }{`; }',
    'function b() { /* } */ return /[}/]\\/{/.test(s) // }',
    '}',
    'function c() { return 4 / 2 } // /',
  ].join('\n')
  expect(names(text).filter((name) => name.startsWith('function'))).toEqual(['function a', 'function b', 'function c'])
  expect(blank(text)).toHaveLength(text.length)
})

test('an offset lies in its innermost function', () => {
  const text = 'function a() { const b = () => c(1); d() }'
  const root = outline(text)
  expect(functionAt(root, text.indexOf('c(1)'))?.name).toBe('b')
  expect(functionAt(root, text.indexOf('d()'))?.name).toBe('a')
  expect(functionAt(outline('x()'), 1)).toBeNull()
})

test('a text that is no JavaScript gives a tree all the same', () => {
  for (const text of ['}}})](', '({[', '`${', '"', '=>', 'class {', "'use strict';async (a)=>{{"]) {
    const root = outline(text)
    for (const block of blocksOf(root)) expect(block.end).toBeLessThanOrEqual(text.length)
  }
})
