import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { binOf } from '../../scripts/dev/checkout.ts'
import { endMarked, MARK } from '../../scripts/dev/child.ts'
import { backend } from '../../src/spawn/zygote/parent.ts'
import { cleanEnv, makeProject, type Project } from '../project.ts'
import { config } from './suite.ts'

const able = backend.available() === true
/** Bound of a wait for a run of vitest's. */
const RUN_MS = 30_000

/** Each run notes its zygote. */
const WHO = `
  import { appendFileSync, readFileSync } from 'node:fs'
  import { test } from 'vitest'
  test('notes its parent', () => {
    const name = readFileSync('/proc/' + process.ppid + '/comm', 'utf8').trim()
    appendFileSync('who.txt', name + ' ' + process.ppid + '\\n')
  })`

function project(warm: string, files: Record<string, string>): Project {
  const made = makeProject({
    'a.test.ts': WHO,
    'vitest.config.ts': config(`{ pool: 'zygote', zygote: { warm: ['${warm}'] } }`),
    [`node_modules/${warm}/package.json`]: `{ "name": "${warm}", "version": "1.0.0", "main": "index.js" }`,
    ...files,
  })
  onTestFinished(() => made.remove())
  return made
}

const parents = ({ folder }: Project): string[] => {
  try {
    return readFileSync(join(folder, 'who.txt'), 'utf8').trimEnd().split('\n')
  } catch {
    return []
  }
}

test.skipIf(!able)(
  'watch mode: a new zygote when what it has loaded has changed, or what is installed',
  async () => {
    const made = project('quiet', { 'node_modules/quiet/index.js': 'exports.one = 1', 'package-lock.json': '{}' })
    const mark = `zygote-warm-${process.pid}-${Math.random()}`
    onTestFinished(() => void endMarked(mark))
    const child = spawn(process.execPath, [binOf('vitest'), '--watch'], {
      cwd: made.folder,
      env: cleanEnv({ [MARK]: mark }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const exit = once(child, 'exit')
    let output = ''
    child.stdout!.on('data', (text) => (output += text))
    child.stderr!.on('data', (text) => (output += text))

    /** Runs the file once more; answers with its zygote. */
    const runAfter = async (change: () => void): Promise<string> => {
      const from = output.length
      const runs = parents(made).length
      change()
      const end = performance.now() + RUN_MS
      const isOver = (): boolean =>
        parents(made).length > runs && /W(?:ait|atch)ing for file changes/.test(output.slice(from))
      while (!isOver() && performance.now() < end) {
        expect(child.exitCode, output).toBe(null)
        await sleep(20)
      }
      expect(isOver(), output).toBe(true)
      return parents(made).at(-1)!
    }
    let edits = 0
    const edit = (): void => made.write('a.test.ts', `${WHO}\n// ${++edits}`)

    const first = await runAfter(() => {})
    expect(first, output).toMatch(/^harrow zygote \d+$/)
    expect(await runAfter(edit)).toBe(first)
    const second = await runAfter(() => {
      made.write('node_modules/quiet/index.js', 'exports.one = 2')
      edit()
    })
    expect(second).toMatch(/^harrow zygote \d+$/)
    expect(second).not.toBe(first)
    const third = await runAfter(() => {
      made.write('package-lock.json', '{ "packages": {} }')
      edit()
    })
    expect(third).toMatch(/^harrow zygote \d+$/)
    expect(third).not.toBe(second)
    child.kill('SIGINT')
    expect(await Promise.race([exit, sleep(RUN_MS, 'late', { ref: false })])).not.toBe('late')
  },
  150_000,
)

test.skipIf(!able)(
  'a package that leaves a timer running is not loaded, and one line says so',
  async () => {
    const made = project('open', { 'node_modules/open/index.js': 'setInterval(() => {}, 60_000)', 'b.test.ts': WHO })
    const run = await made.vitest([], RUN_MS)
    expect(run.code, run.output).toBe(0)
    const lines = run.output.split('\n').filter((line) => line.includes('keeps something open'))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('Timeout')
    expect(parents(made).map((line) => line.replace(/ \d+$/, ''))).toEqual(['harrow zygote', 'harrow zygote'])
  },
  60_000,
)
