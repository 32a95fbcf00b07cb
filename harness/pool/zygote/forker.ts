/** Has workers forked where that works, and says once why it does not: an ordinary child process takes their place then. */
import type { ChildProcess } from 'node:child_process'
import { backend } from '../../../src/spawn/zygote/parent.ts'
import type { PoolOptions } from '../../compat.ts'
import { WORKER_ENV, type WorkerConfig } from '../../protocol.ts'
import { Zygotes } from './zygotes.ts'

/** Packages that an environment of vitest's imports when it is set up. */
const PACKAGES: Record<string, readonly string[]> = {
  jsdom: ['jsdom'],
  'happy-dom': ['happy-dom'],
  'edge-runtime': ['@edge-runtime/vm'],
}

/** Flags with which Node writes something at the end of a process, where a forked one does not come by. */
const PROFILE = /--(?:cpu-prof|heap-prof|prof|trace-events-enabled|report-on-)|--inspect(?!-port|-publish)/

/** What the machine says, asked once a process. */
let tried: Promise<true | string> | undefined

export interface Wanted {
  pool: PoolOptions
  env: NodeJS.ProcessEnv
  argv: readonly string[]
  config: WorkerConfig
}

export class Forker {
  readonly #zygotes = new Zygotes()
  readonly #note: (text: string) => void
  readonly #said = new Set<string>()

  /** @param note says a sentence to the user */
  constructor(note: (text: string) => void) {
    this.#note = note
  }

  /** @returns undefined when a stock worker is to run */
  async make({ pool, env, argv, config }: Wanted): Promise<ChildProcess | undefined> {
    try {
      const obstacle = flagInTheWay(pool) ?? (await whyNot())
      if (obstacle !== undefined) throw new Error(obstacle)
      const { [WORKER_ENV]: _, ...rest } = env
      const child = await this.#zygotes.worker({
        execArgv: pool.execArgv,
        env: Object.fromEntries(
          Object.entries(rest).flatMap(([name, value]) => (value == null ? [] : [[name, `${value}`]])),
        ),
        argv,
        facts: { vitest: pool.distPath, environment: [...(PACKAGES[pool.environment.name] ?? [])], warm: [] },
        config,
      })
      return child.asChildProcess()
    } catch (error) {
      this.#sayOnce(error instanceof Error ? error.message : String(error))
      return undefined
    }
  }

  async end(): Promise<void> {
    await this.#zygotes.end(true)
  }

  #sayOnce(why: string): void {
    // Without what differs from one to the next.
    const reason = why.replace(/\d+/g, 'N')
    if (this.#said.has(reason)) return
    this.#said.add(reason)
    this.#note(`the pool zygote cannot fork: ${why}. Child processes run instead, as with the pool forks.`)
  }
}

function flagInTheWay({ execArgv, env }: PoolOptions): string | undefined {
  const flags = [...execArgv, ...(env.NODE_OPTIONS ?? '').split(/\s+/)]
  const found = flags.find((flag) => PROFILE.test(flag))
  return found === undefined ? undefined : `${found} needs a process that was started anew`
}

async function whyNot(): Promise<string | undefined> {
  const available = backend.available()
  if (available !== true) return available
  tried ??= Promise.resolve(backend.selfTest())
  const works = await tried
  return works === true ? undefined : works
}
