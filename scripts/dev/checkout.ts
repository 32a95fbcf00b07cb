import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Folder of the checkout. */
export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '')

/** `package.json` of a package that is installed in `folder`. */
export function manifest(name: string, folder = root): { version: string; bin?: string | Record<string, string> } {
  return JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8'))
}

/**
 * The script behind a package's command, to be run with `process.execPath`: a command from `PATH` would start whatever
 * `node` stands first there, which may be older than what harrow needs.
 */
export function binOf(name: string, command = name, folder = root): string {
  const { bin } = manifest(name, folder)
  const path = typeof bin === 'string' ? bin : bin?.[command]
  if (path === undefined) throw new Error(`${name} has no command ${command}; run npm ci first`)
  return join(folder, 'node_modules', name, path)
}

/** Command and first arguments that start npm under the Node that runs this. */
export function npm(): [command: string, ...args: string[]] {
  const cli = process.env.npm_execpath
  return cli?.endsWith('.js') && existsSync(cli) ? [process.execPath, cli] : ['npm']
}

/** The environment for children: commands of the checkout first in `PATH`, so that `#!/usr/bin/env node` is ours. */
export function childEnv(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const path = `${join(root, 'node_modules/.bin')}${process.platform === 'win32' ? ';' : ':'}${process.env.PATH}`
  return { ...process.env, PATH: path, ...extra }
}

/** Puts the checkout into `folder/node_modules/harrow`, as an installation would; does nothing when it is there. */
export function linkHarrow(folder: string): void {
  link(root, join(folder, 'node_modules', 'harrow'))
}

/** A symbolic link at `path` to the folder `target`; replaces a link that leads elsewhere. */
export function link(target: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true })
  if (existsSync(path) && realpathSync(path) === realpathSync(target)) return
  rmSync(path, { recursive: true, force: true })
  symlinkSync(target, path, 'junction')
}

/** True when the module `url` is the program and not an import of another. */
export function isProgram(url: string): boolean {
  const program = process.argv[1]
  return program !== undefined && existsSync(program) && realpathSync(program) === realpathSync(fileURLToPath(url))
}
