/**
 * The rounds against the built package, in which an actor starts at a third of the cost: sources of the tests are copied
 * with their imports of `src` led to `dist`.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { UsageError } from '../../src/errors.ts'

type Rounds = typeof import('./round.ts')

const root = join(import.meta.dirname, '..', '..')
const FILES = ['test/chaos/round.ts', 'test/fixtures/actors/chaos.ts']
const IMPORT = /(from ')(?:\.\.\/)+(src\/[^']+)\.ts'/g

/** @throws UsageError when there is no build */
export async function builtRound(): Promise<Rounds & { dispose(): void }> {
  const dist = join(root, 'dist')
  if (!existsSync(join(dist, 'src/index.js'))) throw new UsageError('there is no dist: npm run build')
  const folder = mkdtempSync(join(tmpdir(), 'hrwb-'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  for (const file of FILES) {
    const target = join(folder, file)
    mkdirSync(dirname(target), { recursive: true })
    const text = readFileSync(join(root, file), 'utf8')
    const led = text.replace(IMPORT, (_, from, path) => `${from}${pathToFileURL(join(dist, path)).href}.js'`)
    writeFileSync(target, led)
  }
  const rounds = (await import(pathToFileURL(join(folder, 'test/chaos/round.ts')).href)) as Rounds
  return { ...rounds, dispose: () => rmSync(folder, { recursive: true, force: true }) }
}
