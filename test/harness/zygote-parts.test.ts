import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Frames, frame } from '../../harness/pool/zygote/frames.ts'
import { globs } from '../../harness/pool/zygote/globs.ts'
import { type FileFacts, Learned } from '../../harness/pool/zygote/learned.ts'
import { MARK } from '../../harness/protocol.ts'

describe('messages on the channel of a forked worker', () => {
  const messages = [
    { type: 'run', files: ['a.test.ts'], when: new Date(0), map: new Map([['a', new Set([1])]]) },
    { bytes: Buffer.from('some bytes'), error: new Error('with a stack'), nothing: undefined, big: 2n ** 70n },
    'x'.repeat(100_000),
    null,
  ]

  test.each([1, 3, 4, 5, 1000, 1_000_000])('come through in pieces of %i bytes', (size) => {
    const stream = Buffer.concat(messages.map(frame))
    const frames = new Frames()
    const came: unknown[] = []
    // The long one in larger pieces, else the test takes a second.
    for (let at = 0; at < stream.length; ) {
      const step = at > 2000 && at < 90_000 ? Math.max(size, 997) : size
      came.push(...frames.take(stream.subarray(at, at + step)))
      at += step
    }
    expect(came).toEqual(messages)
  })

  test('a value that cannot be sent is an error', () => {
    expect(() => frame({ f: () => {} })).toThrow(/could not be cloned/)
  })
})

describe('globs', () => {
  test.each([
    ['e2e/**', 'e2e/a/b.test.ts', true],
    ['e2e/**', 'src/e2e/a.test.ts', false],
    ['**/*.slow.test.ts', 'a.slow.test.ts', true],
    ['**/*.slow.test.ts', 'a/b/c.slow.test.ts', true],
    ['*.test.ts', 'a/b.test.ts', false],
    ['./a?.{test,spec}.ts', 'ab.spec.ts', true],
    ['./a?.{test,spec}.ts', 'ab.bench.ts', false],
    ['a+b(c).ts', 'a+b(c).ts', true],
    ['a,b.ts', 'a,b.ts', true],
  ])('%s and %s: %s', (glob, path, matches) => {
    expect(globs([glob])(path)).toBe(matches)
  })
})

describe('what earlier runs have shown', () => {
  let folder: string
  let heavy: string
  let light: string
  const facts = (one: Partial<FileFacts>): FileFacts => ({
    [MARK]: 'learned',
    file: '/a.test.ts',
    cpuMs: 10,
    wallMs: 20,
    imports: [],
    ...one,
  })

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'harrow-learned-'))
    mkdirSync(join(folder, 'node_modules/p'), { recursive: true })
    heavy = join(folder, 'node_modules/p/heavy.js')
    light = join(folder, 'node_modules/p/light.js')
    for (const path of [heavy, light]) writeFileSync(path, '')
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  function run(path: string, ...all: Partial<FileFacts>[]): void {
    const learned = new Learned(path)
    for (const one of all) learned.add(facts(one), learned.warm())
    learned.save()
  }

  test('names what was slow to import, and keeps it although it takes no time once it is warm', () => {
    const path = join(folder, 'imports.json')
    expect(new Learned(path).warm()).toEqual([])
    const gone = join(folder, 'node_modules/p/gone.js')
    run(path, {
      imports: [
        [heavy, 400],
        [gone, 300],
        [light, 1],
      ],
    })
    expect(new Learned(path).warm()).toEqual([heavy])
    for (let i = 0; i < 12; i++) run(path, { imports: [[heavy, 0.1]] })
    expect(new Learned(path).warm()).toEqual([heavy])
  })

  test('forgets what is not imported any more', () => {
    const path = join(folder, 'forgets.json')
    run(path, { imports: [[heavy, 400]] })
    for (let i = 0; i < 11; i++) run(path, { imports: [[light, 1]] })
    expect(new Learned(path).warm()).toEqual([])
  })

  test('leaves out what has effects, for what it imports itself, until it changes', () => {
    const path = join(folder, 'effects.json')
    run(path, { imports: [[heavy, 400]] })
    const learned = new Learned(path)
    learned.leaveOut([{ path: heavy, why: 'it uses expect', instead: [light, heavy] }])
    expect(learned.warm()).toEqual([light])
    learned.save()
    // With that it takes less time, which is no reason to forget it.
    for (let i = 0; i < 12; i++) run(path, { imports: [[heavy, 0.1]] })
    expect(new Learned(path).warm()).toEqual([light])
    utimesSync(heavy, 1, 1)
    expect(new Learned(path).warm()).toEqual([heavy])
  })

  test('knows files that computed for long, until they take clearly less', () => {
    const path = join(folder, 'files.json')
    const file = '/slow.test.ts'
    run(path, { file, cpuMs: 5000, wallMs: 5200 }, { file: '/waits.test.ts', cpuMs: 3500, wallMs: 60_000 })
    expect([new Learned(path).isLong(file), new Learned(path).isLong('/waits.test.ts')]).toEqual([true, false])
    run(path, { file, cpuMs: 2500, wallMs: 2600 })
    expect(new Learned(path).isLong(file)).toBe(true)
    run(path, { file, cpuMs: 1500, wallMs: 1600 })
    expect(new Learned(path).hasLong).toBe(false)
  })

  test('starts anew with a file that is not its own', () => {
    const path = join(folder, 'broken.json')
    writeFileSync(path, '{"format":7')
    expect(new Learned(path).warm()).toEqual([])
  })
})
