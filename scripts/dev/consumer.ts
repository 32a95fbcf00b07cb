import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { childEnv, manifest, npm, root } from './checkout.ts'
import { runChild } from './child.ts'

const PACK_MS = 3 * 60_000
const INSTALL_MS = 4 * 60_000

/**
 * Packs the checkout and installs the tarball into an empty project in `folder`, with the vitest version that the
 * checkout has installed: what a new user gets.
 *
 * @param packages names of packages that are to be there as well, in the versions of the checkout
 * @throws when npm fails or takes too long; the message holds its output
 */
export async function makeConsumer(folder: string, packages: readonly string[] = []): Promise<void> {
  mkdirSync(folder, { recursive: true })
  await runNpm(['pack', '--pack-destination', folder], root, PACK_MS)
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))
  if (tarball === undefined) throw new Error(`npm pack left no tarball in ${folder}`)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline']
  const others = ['vitest', ...packages].map((name) => `${name}@${manifest(name).version}`)
  await runNpm(['install', ...quiet, '-D', `./${tarball}`, ...others], folder, INSTALL_MS)
}

async function runNpm(args: string[], cwd: string, limitMs: number): Promise<void> {
  const [command, ...first] = npm()
  const run = await runChild(command, [...first, ...args], { cwd, env: childEnv(), limitMs })
  if (run.code === 0) return
  const how = run.late ? `was ended after ${limitMs / 1000} s` : `ended with ${run.code ?? run.signal}`
  throw new Error(`npm ${args[0]} ${how}:\n${run.output}`)
}
