import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ProcessIdentity } from '../../src/process/identity.ts'
import { childrenOf, readCommand } from '../../src/process/procfs.ts'
import { readState, type SessionState } from '../../src/reap/state.ts'
import type { Strength } from '../../src/reap/strength.ts'
import { type Sandbox, until } from '../process/sandbox.ts'

export interface MainConfig {
  id: string
  stateDir: string
  politeMs: number
  temp?: string
}

export interface Command {
  do: 'tree' | 'inner' | 'shell' | 'end' | 'sample' | 'temp' | 'late-exit' | 'close' | 'exit'
  mark?: string
  depth?: number
  script?: string
  thread?: boolean
  path?: string
  clean?: boolean
}

export interface Reply {
  value: unknown
  strength: Strength
  missing: string | null
  notes: string[]
  sidecar: ProcessIdentity | undefined
}

const program = fileURLToPath(new URL('./programs/main.ts', import.meta.url))
export const treeProgram = fileURLToPath(new URL('./programs/tree.mjs', import.meta.url))

/** A main process of its own with a session, which does what it is told. */
export class MainProcess {
  readonly id = `main-${randomUUID()}`
  readonly stateDir: string
  readonly child: ChildProcess
  #ready: Promise<Reply>

  /** @param before shell commands that run first, in the same process */
  constructor(box: Sandbox, config: Partial<MainConfig> = {}, options: SpawnOptions = {}, before = ':') {
    this.stateDir = config.stateDir ?? join(box.folder, 'sessions')
    const whole: MainConfig = { id: this.id, stateDir: this.stateDir, politeMs: 100, ...config }
    const env = { CONFIG: JSON.stringify(whole), MARK: box.mark, ...options.env }
    this.child = box.launch('/bin/sh', ['-c', `${before}; exec "$0" "$1"`, process.execPath, program], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      ...options,
      env,
    })
    this.#ready = this.#reply()
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  /** The first reply, when the session is open. */
  ready(): Promise<Reply> {
    return this.#ready
  }

  async tell(command: Command): Promise<Reply> {
    await this.#ready
    const reply = this.#reply()
    this.child.send(command)
    return await reply
  }

  /** Lets it start a shell, with the mark in its arguments, that waits for a child; its pid, when both are there. */
  async hold(mark: string): Promise<number> {
    const { value: pid } = await this.tell({ do: 'shell', script: `sleep 300 & wait; : ${mark}` })
    // Until it has become another program, the child has the arguments of the shell.
    await until(() => childrenOf(pid as number).some((child) => readCommand(child) === 'sleep 300'))
    return pid as number
  }

  /** Ends it by a signal, and waits until it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'exit')
    this.child.kill(signal)
    await gone
  }

  path(ending: 'json' | 'pids' | 'reaped.json'): string {
    return join(this.stateDir, `${this.id}.${ending}`)
  }

  state(): SessionState | undefined {
    return readState(this.path('json'))
  }

  /** Waits until the sidecar has done its work. */
  reaped(): Promise<void> {
    return until(() => existsSync(this.path('reaped.json')))
  }

  async #reply(): Promise<Reply> {
    const [reply] = await once(this.child, 'message', { signal: AbortSignal.timeout(20_000) })
    return reply as Reply
  }
}
