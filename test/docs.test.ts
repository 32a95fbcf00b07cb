import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { binOf, root } from '../scripts/dev/checkout.ts'
import { runChild } from '../scripts/dev/child.ts'
import { makeProject } from './project.ts'
import { filesBelow, parse, read } from './source.ts'

interface Block {
  /** `file:line` of the opening fence. */
  at: string
  language: string
  text: string
}

const pages = ['README.md', 'CONTRIBUTING.md', 'ERRORS.md', ...filesBelow(root, 'docs', '.md')]
const blocks = pages.flatMap(blocksOf)
const having = (...languages: string[]) => blocks.filter(({ language }) => languages.includes(language))

function blocksOf(page: string): Block[] {
  const found: Block[] = []
  let open: Block | undefined
  for (const [index, line] of read(root, page).split('\n').entries()) {
    const fence = /^```(\w*)/.exec(line)
    if (open === undefined && fence) open = { at: `${page}:${index + 1}`, language: fence[1] ?? '', text: '' }
    else if (open !== undefined && fence) {
      found.push(open)
      open = undefined
    } else if (open !== undefined) open.text += `${line}\n`
  }
  return found
}

describe('the code in the documents', () => {
  test('is in a language that is checked here', () => {
    const known = ['ts', 'sh', 'json', 'jsonc', 'text']
    expect(blocks.filter(({ language }) => !known.includes(language)).map(({ at }) => at)).toEqual([])
  })

  test('has the right types where it is TypeScript', async () => {
    const project = makeProject({ 'tsconfig.json': tsconfig })
    try {
      const paths = having('ts').map(({ text }, index) => {
        const path = `block-${index}.ts`
        // Makes a module of a block without imports.
        project.write(path, `${text}\nexport {}\n`)
        return path
      })
      expect(paths.length).toBeGreaterThan(0)
      const args = [binOf('typescript', 'tsc'), '-p', 'tsconfig.json', '--pretty', 'false']
      const { output, code } = await runChild(process.execPath, args, { cwd: project.folder, limitMs: 60_000 })
      const named = output.replace(/block-(\d+)\.ts/g, (_, index) => having('ts')[Number(index)]!.at)
      expect({ code, named }).toEqual({ code: 0, named: '' })
    } finally {
      project.remove()
    }
  })

  test.each(having('ts').filter(({ text }) => text.includes('vitest.config.ts')))(
    'is a config that vitest takes: $at',
    async ({ text }) => {
      const project = makeProject({
        'vitest.config.ts': text,
        'one.test.ts': `import { test } from 'vitest'\ntest('nothing', () => {})\n`,
      })
      try {
        const { code, output } = await project.vitest([], 60_000)
        expect(code, output).toBe(0)
      } finally {
        project.remove()
      }
    },
  )

  test.each(having('ts'))('parses: $at', ({ text }) => {
    expect(() => parse(text)).not.toThrow()
  })

  test.each(having('json', 'jsonc'))(
    'is JSON but for its comments and the marks of what was left out: $at',
    ({ text }) => {
      expect(() => JSON.parse(text.replace(/\s\/\/.*$/gm, ''))).not.toThrow()
    },
  )

  test.each(having('sh'))('names commands that there are: $at', ({ text }) => {
    const wrong = text
      .split('\n')
      .map((line) => line.replace(/\s#.*$/, '').trim())
      .filter((line) => line !== '' && !line.startsWith('#'))
      .flatMap((line) => line.split('&&'))
      .filter((command) => !known(command.trim()))
    expect(wrong).toEqual([])
  })
})

const tsconfig = JSON.stringify({
  compilerOptions: {
    target: 'ES2024',
    module: 'NodeNext',
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
  },
  include: ['block-*.ts'],
})

/** Is this a command that a reader can run: a script of ours, a command of ours or of vitest, a file that exists? */
function known(command: string): boolean {
  const { scripts, bin } = JSON.parse(read(root, 'package.json')) as Record<'scripts' | 'bin', Record<string, string>>
  const words = command.split(/\s+/)
  while (/^[A-Z_]+=/.test(words[0] ?? '')) words.shift()
  const [program, first = '', second = ''] = words
  if (program === 'npm' && first === 'run') return second in scripts
  if (program === 'npm' && first === 'test') return 'test' in scripts
  if (program === 'npm') return ['ci', 'pack'].includes(first) || /^npm (i|install) -D harrow$/.test(words.join(' '))
  if (program === 'npx') return first === 'vitest' || first in bin
  if (program === 'node') return existsSync(join(root, first))
  if (program === 'git') return first === 'clone'
  return (program?.startsWith('.') ?? false) && existsSync(join(root, program!))
}

describe('ERRORS.md', () => {
  test('lists exactly the codes of src/errors.ts', () => {
    const union = /export type HarrowErrorCode =([^\n]*(?:\n\s+\|[^\n]*)*)/.exec(read(root, 'src/errors.ts'))?.[1] ?? ''
    const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code]) => code)
    const listed = [...read(root, 'ERRORS.md').matchAll(/^## `?(HARROW_\w+)/gm)].map(([, code]) => code)
    expect(codes.length).toBeGreaterThan(0)
    expect(listed.sort()).toEqual(codes.sort())
  })
})
