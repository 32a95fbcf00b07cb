/** A vitest project under harrow() of this checkout, whose only test starts a tree of processes and then waits. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, lchownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binOf, childEnv, link, root } from '../checkout.ts'
import { MARK_ENV, makeMark } from './truth.ts'

export type Tree = 'nasty' | 'hostile' | 'forking'

export const TREE = join(root, 'test/reap/programs/torture/tree.ts')
const HARROW = join(root, 'dist/scripts/harrow.js')
/** Nobody, on every Linux. */
const OTHER_UID = 65534

export interface RunOptions {
  tree: Tree
  /** Run it below `harrow exec`. */
  exec?: boolean
  /** Run as another user that cannot get more rights. Only for root. */
  otherUser?: boolean
}

const suites = new Set<Suite>()

/** Removes the folders of all suites, for a script that is interrupted. */
export function removeSuites(): void {
  for (const suite of suites) suite.remove()
}

/** One project folder, used for one run after the other; the second and later ones find warm caches. */
export class Suite {
  readonly folder = mkdtempSync(join(tmpdir(), 'harrow-torture-'))
  readonly otherUser: boolean

  constructor(otherUser = false) {
    this.otherUser = otherUser
    suites.add(this)
    link(join(root, 'node_modules/vitest'), join(this.folder, 'node_modules/vitest'))
    this.#write('package.json', '{ "name": "torture", "private": true, "type": "module" }')
    this.#write(
      'vitest.config.ts',
      `import { harrow } from ${JSON.stringify(join(root, 'dist/harness/index.js'))}
       export default { plugins: [harrow()], test: { pool: 'forks', maxWorkers: 1, testTimeout: 120_000 } }`,
    )
    this.#write(
      'tree.test.ts',
      `import { spawn } from 'node:child_process'
       import { test } from 'vitest'
       test('starts a tree and waits', async () => {
         spawn(process.execPath, [${JSON.stringify(TREE)}, process.env.TORTURE_TREE!, process.env.${MARK_ENV}!, '3'], { stdio: 'ignore' })
         await new Promise((resolve) => setTimeout(resolve, 100_000))
       })`,
    )
    this.#write('empty.test.ts', `import { test } from 'vitest'\ntest('does nothing', () => {})`)
    if (otherUser) this.#giveAway()
  }

  /** Folder of the session files of its runs. */
  get sessions(): string {
    return join(this.folder, 'state/harrow/sessions')
  }

  /** Starts the run whose test makes the tree. */
  start({ tree, exec = false }: RunOptions, mark = makeMark()): { child: ChildProcess; mark: string } {
    const prefix = exec ? [HARROW, 'exec', '--grace', '100', '--', process.execPath] : []
    const env = { [MARK_ENV]: mark, TORTURE_TREE: tree }
    return { child: this.#spawn([...prefix, binOf('vitest'), 'run', 'tree.test.ts'], env), mark }
  }

  /** Starts a run that has nothing to do with the tree. */
  startNext(): { child: ChildProcess; said(): string } {
    const child = this.#spawn([binOf('vitest'), 'run', 'empty.test.ts'], {}, 'pipe')
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        said += text
      })
    }
    return { child, said: () => said }
  }

  remove(): void {
    suites.delete(this)
    rmSync(this.folder, { recursive: true, force: true })
  }

  #spawn(args: string[], env: Record<string, string>, output: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
    const away = this.otherUser
      ? ['setpriv', '--reuid', OTHER_UID, '--regid', OTHER_UID, '--clear-groups', '--no-new-privs', '--']
      : []
    const [command = '', ...rest] = [...away.map(String), process.execPath, ...args]
    const child = spawn(command, rest, {
      cwd: this.folder,
      env: plainEnv({ ...env, XDG_STATE_HOME: join(this.folder, 'state'), HOME: this.folder, TMPDIR: tmpdir() }),
      stdio: ['ignore', output, output],
    })
    child.on('error', () => {})
    return child
  }

  #write(path: string, text: string): void {
    writeFileSync(join(this.folder, path), text)
  }

  #giveAway(): void {
    chmodSync(this.folder, 0o700)
    mkdirSync(join(this.folder, 'node_modules/.vite'), { recursive: true })
    for (const name of readdirSync(this.folder, { recursive: true, encoding: 'utf8' })) {
      lchownSync(join(this.folder, name), OTHER_UID, OTHER_UID)
    }
    chownSync(this.folder, OTHER_UID, OTHER_UID)
  }
}

/** Without what an outer vitest or harrow has put into the environment of its own workers. */
function plainEnv(extra: Record<string, string>): NodeJS.ProcessEnv {
  const env = childEnv({ NO_COLOR: '1', CI: 'true' })
  for (const name of Object.keys(env)) {
    if (/^(VITEST|HARROW|VITE_|TEST$|NODE_ENV$|NODE_OPTIONS$|FORCE_COLOR$)/.test(name)) delete env[name]
  }
  return { ...env, ...extra }
}

export function isRoot(): boolean {
  return process.geteuid?.() === 0
}
