import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from '../scripts/dev/checkout.ts'
import { filesBelow, importsOf, read } from './source.ts'

/** A floor of the house: the floors or files that it may import at run time, and those whose types it may name. */
interface Floor {
  may: string[]
  types?: string[]
}

const NODE = /^node:/

const floors: Record<string, Floor> = {
  'src/errors': { may: [] },
  'src/process': { may: ['src/errors'], types: ['src/inspect/facts.ts'] },
  'src/inspect': { may: ['src/process', 'src/errors'] },
  // What could not be ended is reported with the reason why it does not move.
  'src/reap': { may: ['src/process', 'src/inspect', 'src/errors'] },
  // Structured concurrency inside one process: it knows no process and no channel.
  'src/scope': { may: ['src/errors', 'src/process/clean.ts'] },
  'src/wire': { may: ['src/errors', 'src/process'] },
  // An entry of a backend calls the one function that is the life of a child.
  'src/spawn': {
    may: [
      'src/wire',
      'src/scope',
      'src/process',
      'src/reap',
      'src/errors',
      'src/actor/child-main.ts',
      'src/actor/rehearsal.ts',
    ],
  },
  'src/actor': {
    may: ['src/spawn', 'src/wire', 'src/scope', 'src/reap', 'src/process', 'src/errors', 'src/inspect/actors.ts'],
  },
  'src/dump': { may: ['src/process', 'src/errors'], types: ['src/inspect'] },
  // Looks into processes: facts, judged and written as a dump.
  'src/probe': { may: ['src/dump', 'src/inspect', 'src/process', 'src/errors'] },
  'src/index': {
    may: [
      'src/probe',
      'src/actor',
      'src/spawn',
      'src/wire',
      'src/scope',
      'src/dump',
      'src/inspect',
      'src/process',
      'src/reap',
      'src/errors',
    ],
  },
  // The plugin installs the reporter, which knows no more of the harness than types.
  harness: {
    may: [
      'src/errors',
      'src/process',
      'src/inspect',
      'src/reap',
      'src/dump',
      'src/scope',
      'src/wire',
      'src/spawn',
      'src/actor',
      'src/index',
      'reporters/hang-reporter.ts',
    ],
  },
  reporters: { may: ['src/dump', 'src/errors'], types: ['harness'] },
  scripts: {
    may: ['src/probe', 'src/errors', 'src/process', 'src/inspect', 'src/reap', 'src/dump', 'src/index', 'harness'],
  },
  test: { may: ['src/probe', 'src/errors', 'src/process', 'src/inspect', 'src/reap', 'src/dump', 'src/index'] },
}

/** The floor that a file lies on: the first two parts of its path within src, the first one elsewhere. */
function floorOf(path: string): string {
  const [first = '', second = ''] = path.split('/')
  return first === 'src' ? `src/${second.replace(/\.ts$/, '')}` : first
}

interface Arrow {
  file: string
  specifier: string
  typeOnly: boolean
  /** Floor that is imported, undefined for a package. */
  to?: string
  /** Path of the imported file in the checkout, undefined for a package. */
  path?: string
}

function arrowsOf(folder: string): Arrow[] {
  return filesBelow(root, folder, '.ts').flatMap((file) =>
    importsOf(read(root, file)).map(({ specifier, typeOnly }) => {
      const inside = specifier.startsWith('.')
      const path = normalize(join(dirname(file), specifier)).replaceAll('\\', '/')
      return { file, specifier, typeOnly, ...(inside && { to: floorOf(path), path }) }
    }),
  )
}

const arrows = ['src', 'harness', 'reporters', 'scripts'].flatMap(arrowsOf)
const shown = ({ file, specifier }: Arrow): string => `${file} imports ${specifier}`

describe('the layers', () => {
  test('every file lies on a floor that is known', () => {
    const unknown = ['src', 'harness', 'reporters', 'scripts']
      .flatMap((folder) => filesBelow(root, folder, '.ts'))
      .filter((file) => !(floorOf(file) in floors))
    expect(unknown).toEqual([])
  })

  test.each(Object.keys(floors).filter((name) => name !== 'test'))('%s imports only floors below it', (name) => {
    const floor = floors[name]!
    const wrong = arrows.filter(({ file, to, path, typeOnly }) => {
      if (to === undefined || path === undefined || floorOf(file) !== name || to === name) return false
      const listed = (names: string[] = []) => names.includes(to) || names.includes(path)
      return !(listed(floor.may) || (typeOnly && listed(floor.types)))
    })
    expect(wrong.map(shown)).toEqual([])
  })

  test('src names no test runner, not even in a type', () => {
    const wrong = arrows.filter(
      ({ file, specifier }) => file.startsWith('src/') && /^(vitest|@vitest|vite)\b/.test(specifier),
    )
    expect(wrong.map(shown)).toEqual([])
  })

  test('nothing that is published imports the tests or the development scripts', () => {
    const wrong = arrows.filter(({ file, specifier, to }) => {
      if (to === 'test') return true
      return !file.startsWith('scripts/dev/') && specifier.includes('dev/')
    })
    expect(wrong.map(shown)).toEqual([])
  })

  test('a package that is imported at run time is a dependency, and vitest only that of harness and reporters', () => {
    const { dependencies, devDependencies } = JSON.parse(read(root, 'package.json')) as Record<string, object>
    const wrong = arrows.filter(({ file, specifier, to, typeOnly }) => {
      if (to !== undefined || typeOnly || NODE.test(specifier)) return false
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/')
      const peer = name === 'vitest' && /^(harness|reporters)\//.test(file)
      // What builds the package is not in it.
      const builds = file.startsWith('scripts/dev/') && name in devDependencies!
      return !peer && !builds && !(name in dependencies!)
    })
    expect(wrong.map(shown)).toEqual([])
  })

  test('a relative import names its file with the ending .ts', () => {
    const wrong = arrows.filter(({ specifier, to }) => to !== undefined && !specifier.endsWith('.ts'))
    expect(wrong.map(shown)).toEqual([])
  })
})

describe('the scanner of this test', () => {
  test('sees every form of import, and none in comments and strings', () => {
    const source = `
      // import './comment.ts'
      import type { A } from './a.ts'
      import { type B } from './b.ts'
      import {
        type C,
        d,
      } from './c.ts'
      export * from './e.ts'
      export type { F } from './f.ts'
      const text = \`
      import { x } from './template.ts'
      \`
      type G = import('./g.ts').G
      const { h } = await import('./h.ts')
      import './i.ts'`
    expect(importsOf(source)).toEqual([
      { specifier: './a.ts', typeOnly: true },
      { specifier: './b.ts', typeOnly: true },
      { specifier: './c.ts', typeOnly: false },
      { specifier: './e.ts', typeOnly: false },
      { specifier: './f.ts', typeOnly: true },
      { specifier: './g.ts', typeOnly: true },
      { specifier: './h.ts', typeOnly: false },
      { specifier: './i.ts', typeOnly: false },
    ])
  })
})

test.each(['src', 'harness', 'reporters', 'scripts'])('%s has no path of a machine built in', (folder) => {
  const found = filesBelow(root, folder, '.ts').filter((file) =>
    /['"`]\/(?:tmp|work|root|home)\//.test(withoutComments(read(file))),
  )
  expect(found).toEqual([])
})

/** Where the names of the language are meant: first lines of a child, which load no other module, and run before any test could. */
const OWN_CLOCK: readonly string[] = ['src/spawn/load-runtime.ts', 'src/spawn/process-entry.ts']

test('the runtime takes its timers from clean copies, which fake timers in a test do not stop', () => {
  const found = ['src/wire', 'src/actor', 'src/spawn', 'src/scope']
    .flatMap((folder) => filesBelow(root, folder, '.ts'))
    .filter((file) => !OWN_CLOCK.includes(file))
    .filter((file) => /(?<![.\w])(?:set|clear)(?:Timeout|Interval|Immediate)\(/.test(withoutComments(read(root, file))))
  expect(found).toEqual([])
})

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
}
