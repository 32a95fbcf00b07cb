import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import { type AsyncStacks, asyncStacks } from '../../src/inspect/async-stacks.ts'
import { driveSync, type InspectorCall, withSession } from '../../src/inspect/drive.ts'
import type { AsyncFacts, Position } from '../../src/inspect/facts.ts'
import { factsFromStacks } from '../../src/inspect/stack-facts.ts'
import { program, runNode } from './programs.ts'

const path = program('stacks.ts')
const marks = new Map(
  readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line, i) => {
      const mark = / \/\/ @(\S+)$/.exec(line)?.[1]
      return mark === undefined ? [] : [[mark, i + 1] as const]
    }),
)

let answer: {
  stacks: AsyncStacks
  ranDuring: boolean
  truth: { fn: string; at: Position | null; slow: Position | null }[]
  folded: AsyncFacts
}

beforeAll(async () => {
  const run = await runNode([path])
  expect(run.stderr).toBe('')
  answer = JSON.parse(run.stdout)
}, 60_000)

/** Marks of the lines of each stack, combinators as `all[0]`; the nearest waiter first. */
function chains(): string[] {
  const byLine = new Map([...marks].map(([mark, line]) => [line, mark]))
  return answer.stacks.stacks
    .filter(({ frames }) => frames.some(({ at }) => at?.url.endsWith('stacks.ts')))
    .map(({ frames }) =>
      frames.map(({ fn, at, index }) => (at ? (byLine.get(at.line) ?? fn) : `${fn}[${index}]`)).join(' <- '),
    )
}

describe('the stacks of pending promises', () => {
  test.each([
    'leaf <- middle <- all[0] <- all',
    'middle <- all[0] <- all',
    'all[1] <- all',
    'leaf <- any[0] <- any',
    'leaf <- settled',
    'leaf <- race',
    'subclass',
    'thenable',
    'letters <- iterate',
    'Gate.pass',
    'arrow',
    'second',
  ])('have %s', (chain) => {
    // A combinator of V8 or Node in between has a frame of its own, depending on the version.
    const found = chains().map((one) => one.replace('allSettled[0] <- ', '').replace(/ <- race\[\d\]/, ''))
    expect(found).toContain(chain)
  })

  test('pass through functions of Node', () => {
    expect(chains()).toContainEqual(expect.stringMatching(/(^| <- )event$/))
  })

  test('have nobody for a promise that several wait for', () => {
    expect(chains().filter((chain) => chain.includes('sharedBy'))).toEqual([])
  })

  test('come without a promise job or a tick of the program being run', () => {
    expect(answer.ranDuring).toBe(false)
  })

  test('name the column of the await and the start of the function', () => {
    const frames = answer.stacks.stacks.flatMap((stack) => stack.frames)
    const source = readFileSync(path, 'utf8').split('\n')
    const arrow = frames.find(({ at }) => at?.line === marks.get('arrow') && at?.url.endsWith('stacks.ts'))!
    expect(source[arrow.at!.line - 1]!.slice(arrow.at!.column - 1)).toMatch(/^await never\(\)/)
    expect(source[arrow.definedAt!.line - 1]).toContain('const arrow')
  })

  test('carry the heap ids of a snapshot taken before', () => {
    expect(answer.stacks.stacks.filter(({ promise }) => promise === 0)).toEqual([])
  })
})

test('every function of the snapshot gets the same position as by a walk over the heap', () => {
  expect(answer.truth.length).toBeGreaterThan(15)
  expect(answer.truth.map(({ fn, at }) => ({ fn, at }))).toEqual(answer.truth.map(({ fn, slow }) => ({ fn, at: slow })))
})

test('two functions that wait for one promise are found in the snapshot', () => {
  const two = answer.truth.filter(({ fn }) => fn === 'sharedBy')
  expect(two.map(({ at }) => at?.line)).toEqual([marks.get('sharedBy'), marks.get('sharedBy')])
})

describe('facts from stacks alone', () => {
  test('join equal places, with what waits above them', () => {
    const { suspended } = answer.folded
    const byId = new Map(suspended.map((one) => [one.id, one]))
    const leaves = suspended.filter(({ at }) => at?.line === marks.get('leaf') && at?.url.endsWith('stacks.ts'))
    const above = leaves.map((one) => byId.get(one.awaitedBy[0] ?? -1)?.fn).sort()
    expect(above).toEqual(['any', 'middle', 'race', 'settled'])
    expect(suspended.every((one) => one.at !== null)).toBe(true)
  })

  test('fold what is there many times and keep to a bound', () => {
    const at = { url: '/app/a.js', line: 3, column: 5 }
    const frame = { fn: 'one', at, definedAt: null }
    const many = Array.from({ length: 5000 }, (_, i) => ({ promise: i, frames: [frame] }))
    const others = Array.from({ length: 700 }, (_, i) => ({
      promise: i,
      frames: [{ fn: `f${i}`, at: { url: '/app/b.js', line: i + 1, column: 1 }, definedAt: null }],
    }))
    const facts = factsFromStacks({ stacks: [...many, ...others], promises: 5700, notes: [] })
    expect(facts.suspended).toHaveLength(500)
    expect(facts.suspended[0]).toMatchObject({ fn: 'one', count: 5000 })
    expect(facts.notes).toEqual(['201 of 701 places at which functions are suspended are left out'])
  })

  test('know their section by the marker above them', () => {
    const user = { fn: 'user', at: { url: '/app/a.js', line: 3, column: 5 }, definedAt: null }
    const marker = { fn: 'mark', at: { url: '/own/marker.js', line: 1, column: 1 }, definedAt: null }
    const stacks = {
      stacks: [
        { promise: 1, frames: [user, marker] },
        { promise: 2, frames: [user] },
      ],
      promises: 2,
      notes: [],
    }
    const isMarker = (fn: string, url: string): boolean => fn === 'mark' && url === '/own/marker.js'
    const facts = factsFromStacks(stacks, { isMarker, owner: 'harrow:test' })
    const owners = facts.suspended.filter(({ fn }) => fn === 'user').map(({ owner }) => owner)
    expect(owners).toEqual(['harrow:test', null])
  })
})

describe('limits', () => {
  test('more promises than asked for are counted as left out', async () => {
    const kept = Array.from({ length: 300 }, () => new Promise(() => {}))
    const stacks = withSession((post) => driveSync(asyncStacks({ maxPromises: 100 }), post))
    expect(stacks.promises).toBe(100)
    expect(stacks.notes.join()).toMatch(/^\d+ of \d+ promises were not looked at$/)
    expect(kept).toHaveLength(300)
  })

  test.each([
    ['an exception', { exceptionDetails: { exception: { description: 'Error: nope\n at x' } } }, /nope$/],
    ['no answer', {}, /no answer/],
    ['no text', { result: { objectId: '1', value: 'not json' } }, /no readable answer/],
  ])('%s of the inspector is an error that says so', (_name, reply, message) => {
    const post = (method: InspectorCall['method']): unknown =>
      method === 'Runtime.queryObjects' ? { objects: { objectId: '1' } } : reply
    expect(() => driveSync(asyncStacks(), post)).toThrow(message)
  })
})
