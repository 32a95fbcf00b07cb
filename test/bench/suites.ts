import { makeProject, type Project } from '../project.ts'

/** Config files that {@link makeSuite} writes: vitest alone, and twice with the plugin. */
const PLUGINS = {
  plain: '',
  /** Hangs only: nothing is looked for that tests leave behind. */
  hangs: "harrow({ leaks: 'off', orphans: 'off' })",
  harrow: 'harrow()',
} as const

type Config = keyof typeof PLUGINS

/** Ways to run a suite; `again` is `plain` once more, whose ratio to `plain` says how much is noise. */
export type Variant = Config | 'again'

/** Path of the config file of a variant. */
export function configOf(variant: Variant): string {
  return `${variant === 'again' ? 'plain' : variant}.config.ts`
}

/** What a test does: next to nothing, or about 1 ms of ordinary work. */
export type Body = 'trivial' | 'work'

/**
 * A project with `files` test files of `tests` tests each, and configs that differ in the plugin only.
 * @param pool vitest's pool
 */
export function makeSuite(files: number, tests: number, pool: string, body: Body = 'trivial'): Project {
  const project = makeProject()
  for (const config of Object.keys(PLUGINS) as Config[]) project.write(configOf(config), configText(pool, config))
  const width = String(files - 1).length
  for (let index = 0; index < files; index++) {
    const number = String(index).padStart(width, '0')
    project.write(`test/file-${number}.test.ts`, body === 'work' ? working(number, tests) : trivial(number, tests))
  }
  return project
}

function trivial(file: string, tests: number): string {
  const bodies = Array.from(
    { length: tests },
    (_, index) => `test('adds ${index}', async () => {\n  expect(await one() + ${index}).toBe(${index + 1})\n})\n`,
  )
  return `import { expect, test } from 'vitest'\n\n// File ${file}.\nconst one = async () => 1\n\n${bodies.join('\n')}`
}

/**
 * Nothing in it waits for a clock: after a `setTimeout(0)` that is awaited a test would go on at the next whole
 * millisecond, and whatever was slower before would be hidden in the wait. The timer is one that guards, as in most code,
 * and is cleared; the loop turns once.
 */
const WORK = `async function work(seed: number): Promise<number> {
  const guard = setTimeout(() => {
    throw new Error('late')
  }, 60_000)
  let state = seed
  const numbers = Array.from({ length: 2000 }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state
  })
  numbers.sort((a, b) => a - b)
  const records = numbers.slice(0, 150).map((id) => ({ id, name: 'name ' + id, tags: ['a', 'b'], inner: { at: id / 2 } }))
  const copy = JSON.parse(JSON.stringify(records)) as typeof records
  let sum = 0
  for (const record of copy.slice(0, 5)) sum += await lookUp(record)
  await new Promise((resolve) => setImmediate(resolve))
  clearTimeout(guard)
  return sum - copy.slice(0, 5).reduce((all, { id }) => all + id, 0)
}

async function lookUp({ id }: { id: number }): Promise<number> {
  return id
}`

function working(file: string, tests: number): string {
  const bodies = Array.from(
    { length: tests },
    (_, index) => `test('works ${index}', async () => {\n  expect(await work(${index})).toBe(0)\n})\n`,
  )
  return `import { expect, test } from 'vitest'\n\n// File ${file}.\n${WORK}\n\n${bodies.join('\n')}`
}

function configText(pool: string, config: Config): string {
  const plugin = PLUGINS[config]
  return `import { defineConfig } from 'vitest/config'
${plugin && "import { harrow } from 'harrow/vitest'"}

export default defineConfig({
  plugins: [${plugin}],
  test: { pool: '${pool}', maxWorkers: 2, testTimeout: 5000, reporters: ['dot'] },
})
`
}

/** Milliseconds that a test of {@link makeHangs} may take. */
export const HANG_LIMIT_MS = 1000

/** One file with a blocked loop and one with an idle hang; each notes when its test began. */
export function makeHangs(pool: string): Project {
  const noteStart = (name: string) => `writeFileSync('${name}.start', String(Date.now()))`
  const head = `import { writeFileSync } from 'node:fs'\nimport { test } from 'vitest'\n\n`
  return makeProject({
    'vitest.config.ts': `import { defineConfig } from 'vitest/config'
import { harrow } from 'harrow/vitest'

export default defineConfig({
  plugins: [harrow()],
  test: { pool: '${pool}', maxWorkers: 1, testTimeout: ${HANG_LIMIT_MS} },
})
`,
    'blocked.test.ts': `${head}test('blocked', () => {
  ${noteStart('blocked')}
  const end = performance.now() + 30_000
  while (performance.now() < end) {}
})
`,
    'idle.test.ts': `${head}test('idle', async () => {
  ${noteStart('idle')}
  await answer()
})

async function answer(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20_000))
}
`,
  })
}
