import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
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
    'vitest.config.ts': config(`{ pool: 'zygote', zygote: { warm: ['${warm}'], wait: true } }`),
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

test.skipIf(!able)(
  'while a zygote starts child processes run, then forks; a file that computed for long before is never forked',
  async () => {
    const who = WHO.replace("'who.txt', name", "'who.txt', import.meta.url.split('/').at(-1) + ' ' + name")
    // Each waits until there is a zygote; the main process hears of it a moment later.
    const file = `${who}
      import { readdirSync } from 'node:fs'
      test('waits', async () => {
        const isZygote = (pid) => {
          try {
            const [, name, parent] = /\\((.*)\\) . (\\d+)/.exec(readFileSync('/proc/' + pid + '/stat', 'utf8'))
            return name === 'harrow zygote' && Number(parent) === process.ppid
          } catch { return false }
        }
        const end = Date.now() + 20_000
        while (!readdirSync('/proc').some(isZygote) && readFileSync('/proc/' + process.ppid + '/comm', 'utf8').trim() !== 'harrow zygote') {
          if (Date.now() > end) throw new Error('there is no zygote')
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }, 30_000)`
    const names = ['b', 'c', 'd', 'e'].map((name) => `${name}.test.js`)
    const made = project('quiet', {
      'node_modules/quiet/index.js': '',
      'vitest.config.ts': `
        import { harrow } from 'harrow/vitest'
        export default {
          cacheDir: './cache',
          plugins: [harrow({ pool: 'zygote' })],
          test: { maxWorkers: 1, include: ['*.test.js'] },
        }`,
      'long.test.js': who,
      ...Object.fromEntries(names.map((name) => [name, file])),
    })
    const state = {
      format: 1,
      // One that takes long, so that a zygote is worth its start.
      imports: { [join(made.folder, 'node_modules/quiet/index.js')]: { ms: 2000, unseen: 0 } },
      files: { [join(made.folder, 'long.test.js')]: { cpuMs: 9000, wallMs: 9000 } },
    }
    // Where vitest has the cache of a project without a name.
    const place = `cache/vitest/${createHash('sha1').update('').digest('hex')}`
    made.write(`${place}/harrow-zygote.json`, JSON.stringify(state))
    const run = await made.vitest([], 2 * RUN_MS)
    expect(run.code, run.output).toBe(0)
    const lines = parents(made).map((line) => line.split(' '))
    expect(lines.map(([name]) => name).sort()).toEqual([...names, 'long.test.js'])
    const isForked = lines
      .filter(([name]) => name !== 'long.test.js')
      .map(([, ...name]) => name.join(' ').startsWith('harrow zygote'))
    expect([isForked.at(0), isForked.at(-1)], run.output).toEqual([false, true])
    expect(
      lines
        .find(([name]) => name === 'long.test.js')!
        .slice(1)
        .join(' '),
    ).not.toContain('harrow zygote')
  },
  90_000,
)

test.skipIf(!able)(
  'no zygote is started for a few light files',
  async () => {
    const made = project('quiet', {
      'node_modules/quiet/index.js': '',
      'b.test.ts': WHO,
      'vitest.config.ts': config(`{ pool: 'zygote' }`),
    })
    const run = await made.vitest([], RUN_MS)
    expect(run.code, run.output).toBe(0)
    expect(parents(made)).toHaveLength(2)
    expect(parents(made).join()).not.toContain('zygote')
  },
  60_000,
)
