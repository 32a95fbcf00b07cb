/** Tells whether dist was made from the sources as they are now. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './checkout.ts'
import { filesBelow } from './files.ts'

/** Beside the build's own folder: not in dist, which is published as it is. */
const STAMP = join(root, 'node_modules', '.cache', 'harrow-built')
const SINGLE = ['scripts/dev/build.ts', 'tsconfig.json', 'tsconfig.build.json', 'package.json']

/** Of everything that a build reads: by content, since a checkout changes the times of files that are the same. */
export function hashInputs(): string {
  const hash = createHash('sha256')
  const files = ['src', 'harness', 'reporters', 'scripts'].flatMap((folder) => filesBelow(root, folder, '.ts'))
  for (const file of [...files.filter((name) => !name.startsWith('scripts/dev/')), ...SINGLE]) {
    hash.update(`${file}\0`).update(readFileSync(join(root, file)))
  }
  return hash.digest('hex')
}

/** @param inputs of the build that has made dist, hashed before it began */
export function stampBuild(inputs: string): void {
  mkdirSync(join(STAMP, '..'), { recursive: true })
  writeFileSync(STAMP, inputs)
}

/** Why dist cannot stand for the sources, and what to do; undefined when it can. */
export function whyStale(): string | undefined {
  if (!existsSync(join(root, 'dist', 'src', 'index.js'))) return 'there is no dist: npm run build'
  const built = existsSync(STAMP) ? readFileSync(STAMP, 'utf8') : ''
  return built === hashInputs() ? undefined : 'dist was not made from the sources as they are now: npm run build'
}
