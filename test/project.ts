import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { binOf, childEnv, link, linkHarrow, root } from '../scripts/dev/checkout.ts'
import { type ChildResult, runChild } from '../scripts/dev/child.ts'

/** A project of its own in the temporary folder, in which `harrow` (as built in dist) and `vitest` can be imported. */
export interface Project {
  folder: string
  /** Writes a file, with the folders it needs. */
  write(path: string, text: string): void
  /** Runs `vitest run` in it with a clean environment. */
  vitest(args: string[], limitMs: number, env?: Record<string, string>): Promise<ChildResult>
  /** Removes the folder. */
  remove(): void
}

/** @param files path and text of what lies in the project at first; a `package.json` is there without being named */
export function makeProject(files: Record<string, string> = {}): Project {
  const folder = mkdtempSync(join(tmpdir(), 'harrow-test-'))
  linkHarrow(folder)
  for (const name of ['vitest', '@types', 'typescript']) {
    link(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  const project: Project = {
    folder,
    write(path, text) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    },
    vitest: (args, limitMs, env = {}) =>
      runChild(process.execPath, [binOf('vitest'), 'run', ...args], {
        cwd: folder,
        env: cleanEnv({ XDG_STATE_HOME: join(folder, '.state'), ...env }),
        limitMs,
      }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
  project.write('package.json', JSON.stringify({ name: 'project', private: true, type: 'module' }))
  for (const [path, text] of Object.entries(files)) project.write(path, text)
  return project
}

/** The environment without what an outer vitest or harrow has put there for its own workers. */
export function cleanEnv(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const env = childEnv({ NO_COLOR: '1', CI: 'true' })
  for (const name of Object.keys(env)) {
    if (/^(VITEST|HARROW|VITE_|TEST$|NODE_ENV$|NODE_OPTIONS$|FORCE_COLOR$)/.test(name)) delete env[name]
  }
  return { ...env, ...extra }
}
