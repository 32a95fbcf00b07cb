import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { isDead, Sandbox, stateOf, until } from '../process/sandbox.ts'
import { cleanEnv } from '../project.ts'

const BIN = fileURLToPath(new URL('../../scripts/harrow.ts', import.meta.url))
const RUN = fileURLToPath(new URL('./programs/run.ts', import.meta.url))
const NODE_FLAGS = ['--experimental-strip-types', '--no-warnings']

export interface Said {
  code: number | null
  out: string
  err: string
}

/** A run as `programs/run.ts` made it. */
export interface TestRun {
  id: string
  main: number
  sidecar: number
  temp: string
  /** Shells of the scripts. */
  children: number[]
}

/** Runs, and the command `harrow`, with state and temporary folders of their own. */
export class World extends Sandbox {
  readonly temp = join(this.folder, 'temp')
  readonly state = join(this.folder, 'state')
  readonly sessions = join(this.state, 'harrow', 'sessions')
  readonly #sidecars: number[] = []

  constructor() {
    super()
    for (const folder of [this.temp, this.state]) mkdirSync(folder)
  }

  get env(): Record<string, string> {
    return { TMPDIR: this.temp, XDG_STATE_HOME: this.state, LC_ALL: 'C.UTF-8' }
  }

  async harrow(args: string[], env: Record<string, string> = {}): Promise<Said> {
    const child = spawn(process.execPath, [...NODE_FLAGS, BIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: cleanEnv({ ...this.env, ...env }),
      timeout: 25_000,
      killSignal: 'SIGKILL',
    })
    const code = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
    return { code: await code, out, err }
  }

  /** Starts a run with one child for each script. */
  async startRun(...scripts: string[]): Promise<TestRun> {
    const id = randomUUID().slice(0, 8)
    const ready = join(this.folder, `${id}.ready`)
    const main = this.start(process.execPath, [...NODE_FLAGS, RUN], {
      env: { ...this.env, CONFIG: JSON.stringify({ id, ready, scripts }) },
    })
    await until(() => existsSync(ready))
    const run = { id, main, ...(JSON.parse(readFileSync(ready, 'utf8')) as Omit<TestRun, 'id' | 'main'>) }
    this.#sidecars.push(run.sidecar)
    await until(() => run.children.every((pid) => stateOf(pid) === 'S'))
    return run
  }

  /** Kills the sidecar of a run and then its main process, so that nobody looks after it any more. */
  async abandon({ main, sidecar }: TestRun): Promise<void> {
    // A main process that runs would start a new sidecar.
    process.kill(main, 'SIGSTOP')
    process.kill(sidecar, 'SIGKILL')
    await until(() => isDead(sidecar))
    process.kill(main, 'SIGKILL')
    await until(() => isDead(main))
  }

  async abandonedRun(...scripts: string[]): Promise<TestRun> {
    const run = await this.startRun(...scripts)
    await this.abandon(run)
    return run
  }

  /** A sidecar is not marked, and ends by itself when its main process is dead. */
  override async end(): Promise<void> {
    for (const pid of this.marked()) if (!isDead(pid)) process.kill(pid, 'SIGCONT')
    await super.end()
    await until(() => this.#sidecars.every(isDead))
  }
}

/** Does a session of this id still have its file? */
export function hasSession(world: World, id: string): boolean {
  return existsSync(join(world.sessions, `${id}.json`))
}
