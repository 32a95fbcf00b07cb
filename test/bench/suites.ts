import { makeProject, type Project } from '../project.ts'

/** Names of the config files that {@link makeSuite} writes. */
export const CONFIGS = { plain: 'plain.config.ts', harrow: 'harrow.config.ts' } as const

export type Variant = keyof typeof CONFIGS

/**
 * A project with `files` test files of `tests` trivial tests each, and two configs that differ in the plugin only.
 * @param pool vitest's pool
 */
export function makeSuite(files: number, tests: number, pool: string): Project {
  const project = makeProject({
    [CONFIGS.plain]: config(pool, false),
    [CONFIGS.harrow]: config(pool, true),
  })
  const width = String(files - 1).length
  for (let index = 0; index < files; index++) {
    const number = String(index).padStart(width, '0')
    project.write(`test/file-${number}.test.ts`, trivial(number, tests))
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

function config(pool: string, withHarrow: boolean): string {
  return `import { defineConfig } from 'vitest/config'
${withHarrow ? "import { harrow } from 'harrow/vitest'" : ''}

export default defineConfig({
  plugins: [${withHarrow ? 'harrow()' : ''}],
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
