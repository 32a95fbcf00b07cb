/** Has workers forked where that works, and says once why it does not: an ordinary child process takes their place then. */
import type { ChildProcess } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, isAbsolute, join } from 'node:path'
import { serialize } from 'node:v8'
import { backend } from '../../../src/spawn/zygote/parent.ts'
import { type InnerWorker, type PoolOptions, useProcess } from '../../compat.ts'
import { WORKER_ENV, type WorkerConfig } from '../../protocol.ts'
import type { ResolvedZygote } from '../../zygote-options.ts'
import type { WorkerOrder } from './birth.ts'
import { globs } from './globs.ts'
import { LateWorker } from './late-worker.ts'
import { type FileFacts, Learned } from './learned.ts'
import { canWatch } from './side-effects.ts'
import { type Unsafe, UnsafeImports } from './task.ts'
import type { Zygotes } from './zygotes.ts'

/** Packages that an environment of vitest's imports when it is set up. */
const PACKAGES: Record<string, readonly string[]> = {
  jsdom: ['jsdom'],
  'happy-dom': ['happy-dom'],
  'edge-runtime': ['@edge-runtime/vm'],
}

/** Flags with which Node writes something at the end of a process, where a forked one does not come by. */
const PROFILE = /^--(?:cpu-prof|heap-prof|prof\b|trace-events?-|report-|diagnostic-dir|inspect(?!-port|-publish))/

/** Two workers that start at once count twice. The next run goes on where this one ends. */
const MOST_LEFT_OUT = 12

/**
 * Milliseconds of CPU. What the start of a zygote takes, with the first children, which tell their pages; and what it saves for a
 * file that is forked: for any, by its environment, and at most by packages that it need not load. Measured on two cores.
 */
const START_COST_MS = 3000
const GAIN_MS = 200
const DOM_GAIN_MS = 500
const MOST_WARM_GAIN_MS = 1000

/** What the machine says, asked once a process. */
let tried: Promise<true | string> | undefined

export interface Wanted {
  pool: PoolOptions
  env: NodeJS.ProcessEnv
  argv: readonly string[]
  config: WorkerConfig
}

/** One a project. */
export class Forker {
  readonly #zygotes: Zygotes
  readonly #options: ResolvedZygote
  readonly #root: string
  readonly #note: (text: string) => void
  readonly #isExcluded: (path: string) => boolean
  readonly #learned: Learned | undefined
  #warm: readonly string[]
  /** A warm module keeps something open. */
  #hasOpen = false
  /** Zygotes go through a worker's life before they are forked. */
  #dry = true
  /** How often something was left out: each time a zygote was started for nothing. */
  #leftOut = 0
  /** Zygotes that start while child processes run, one after the other. */
  #starting: Promise<void> | undefined
  /** What a zygote that runs has loaded, with its versions. */
  #loaded: string | undefined

  /** @param note says a sentence to the user, once */
  constructor(zygotes: Zygotes, options: ResolvedZygote, root: string, cacheDir: string, note: (text: string) => void) {
    this.#zygotes = zygotes
    this.#options = options
    this.#root = root
    this.#note = note
    this.#isExcluded = globs(options.exclude)
    if (options.warm === 'auto' && canWatch) this.#learned = new Learned(join(cacheDir, 'harrow-zygote.json'))
    this.#warm = this.#learned?.warm() ?? this.#pathsOf(options.warm === 'auto' ? [] : options.warm)
  }

  /** @returns the worker, which is a stock one or gets its process here */
  use(inner: InnerWorker, wanted: Wanted): InnerWorker {
    let stock = false
    useProcess(inner, async () => (stock ? undefined : this.#make(wanted)))
    // vitest then takes the start of the environment for part of the run, so only where somebody must choose.
    if (this.#options.exclude.length === 0 && !this.#learned?.hasLong) return inner
    return new LateWorker(inner, (files) => {
      stock = files.some((file) => this.#isExcluded(this.#relative(file)) || this.#learned?.isLong(file))
    })
  }

  /** What a worker says of a file that has ended. */
  learn(isForked: boolean, facts: FileFacts): void {
    this.#learned?.add(facts, isForked ? this.#warm : [])
  }

  /** A run of watch mode begins, or the first one. A zygote that has loaded something else by now is ended. */
  begin(): void {
    this.#learned?.save()
    // What kept something open stays out.
    if (this.#learned && !this.#hasOpen) this.#warm = this.#learned.warm()
    const loaded = fingerprint([...this.#warm].sort(), this.#root)
    if (this.#loaded !== undefined && this.#loaded !== loaded) void this.#zygotes.end(false)
    this.#loaded = loaded
  }

  /** The run is over. */
  save(): void {
    this.#learned?.save()
  }

  /** @returns undefined when a stock worker is to run */
  async #make(wanted: Wanted): Promise<ChildProcess | undefined> {
    try {
      const obstacle = flagInTheWay(wanted.pool) ?? (await whyNot())
      if (obstacle !== undefined) throw new Error(obstacle)
      if (!this.#options.wait && !this.#isReady(wanted)) return undefined
      return (await this.#try(wanted, (order) => this.#zygotes.worker(order))).asChildProcess()
    } catch (error) {
      this.#cannot(error)
      return undefined
    }
  }

  #cannot(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error)
    this.#note(`the pool zygote cannot fork: ${general(why)}. Child processes run instead, as with the pool forks.`)
  }

  /** Starts what is not ready, where that is of use: while it starts, child processes run. */
  #isReady(wanted: Wanted): boolean {
    const { order } = this.#orderOf(wanted)
    if (this.#zygotes.isReady(order)) return true
    const { vitest } = wanted.pool.project
    if (!vitest.config.watch && !this.#isWorthIt(wanted.pool)) return false
    this.#starting ??= this.#try(wanted, (again) => this.#zygotes.start(again))
      .catch((error) => this.#cannot(error))
      .finally(() => {
        this.#starting = undefined
      })
    return false
  }

  #isWorthIt({ project: { vitest }, environment }: PoolOptions): boolean {
    const files = vitest.state.getPaths().length - vitest.config.maxWorkers
    const dom = /dom$/.test(environment.name) ? DOM_GAIN_MS : 0
    const warm = this.#learned ? this.#learned.warmMs() : this.#warm.length > 0 ? MOST_WARM_GAIN_MS : 0
    return files * (GAIN_MS + dom + Math.min(warm, MOST_WARM_GAIN_MS)) > START_COST_MS
  }

  #orderOf({ pool, env, argv, config }: Wanted): { order: WorkerOrder; warm: readonly string[] } {
    const { [WORKER_ENV]: _, ...rest } = env
    const start = this.#dry ? startOf(pool) : null
    // Without the environment and the globals of a worker, a module that asks for them at its import is not what it would be there.
    const warm = start === null && this.#learned ? [] : this.#warm
    const order = {
      execArgv: pool.execArgv,
      env: strings(rest),
      argv,
      facts: {
        vitest: pool.distPath,
        environment: [...(PACKAGES[pool.environment.name] ?? [])],
        warm: [...warm],
        config: { ...config, record: null },
        start: start?.bytes ?? null,
      },
      sticky: start?.sticky,
      record: config.record,
    }
    return { order, warm }
  }

  /** With less, where the zygote does not start with all or cannot be forked. */
  async #try<T>(wanted: Wanted, action: (order: WorkerOrder) => Promise<T>): Promise<T> {
    const { order, warm } = this.#orderOf(wanted)
    try {
      return await action(order)
    } catch (error) {
      const unsafe = UnsafeImports.in(error)
      if (unsafe.length > 0) {
        this.#leaveOut(unsafe)
        return await this.#try(wanted, action)
      }
      if (order.facts.start !== null && error instanceof Error && /could not start|not ready/.test(error.message)) {
        this.#dry = false
        return await this.#try(wanted, action)
      }
      // A module that leaves a timer or a connection open: without it a fork is sound.
      if (warm.length === 0 || !(error instanceof Error && /not quiet/.test(error.message))) throw error
      this.#note(
        `a package that the zygote has loaded keeps something open (${general(error.message)}); none is loaded`,
      )
      this.#warm = []
      this.#hasOpen = true
      return await this.#try(wanted, action)
    }
  }

  /** Each time it is others, which are tried in the place of those. */
  #leaveOut(unsafe: readonly Unsafe[]): void {
    if (this.#learned) {
      this.#learned.leaveOut(unsafe)
      this.#warm = ++this.#leftOut > MOST_LEFT_OUT ? [] : this.#learned.warm()
      return
    }
    this.#warm = this.#warm.filter((path) => !unsafe.some((one) => one.path === path))
    for (const { path, why } of unsafe) {
      this.#note(`zygote.warm: ${this.#relative(path)} is not loaded before the fork: ${why}`)
    }
  }

  #relative(file: string): string {
    return file.startsWith(`${this.#root}/`) ? file.slice(this.#root.length + 1) : file
  }

  /** Of code in node_modules only: whatever the user edits is loaded by vitest, in each worker. */
  #pathsOf(names: readonly string[]): string[] {
    const require = createRequire(join(this.#root, 'package.json'))
    return names.flatMap((name) => {
      try {
        const path = isAbsolute(name) ? name : require.resolve(name)
        if (path.includes('/node_modules/')) return [path]
        this.#note(`zygote.warm: ${name} is not in node_modules (${path}) and is not loaded before the fork`)
      } catch (error) {
        this.#note(`zygote.warm: ${name} is not found: ${general(error instanceof Error ? error.message : `${error}`)}`)
      }
      return []
    })
  }
}

/** Environments that are set up before the fork: vitest's own, and none of the user's. */
const EARLY = ['node', 'jsdom', 'happy-dom']
/** What a variable of the environment may hold, less some room (`MAX_ARG_STRLEN` of Linux is 128 KiB). */
const MOST_BYTES = 100_000

/** How vitest is going to start the workers; null where a zygote cannot do the same before. */
function startOf({ project, environment }: PoolOptions): { bytes: string; sticky: unknown } | null {
  const config = project.serializedConfig as unknown as Record<string, unknown>
  const { experimental, globals, disableConsoleIntercept, chaiConfig, environmentOptions, root } = config
  const { viteModuleRunner, openTelemetry } = (experimental ?? {}) as Record<string, unknown>
  const isTraced = (openTelemetry as { enabled?: boolean } | undefined)?.enabled === true
  if (!EARLY.includes(environment.name) || viteModuleRunner === false || isTraced) return null
  try {
    const { name, options } = environment
    const bytes = serialize({ environment: { name, options }, config }).toString('base64')
    const sticky = [name, options, environmentOptions, globals, disableConsoleIntercept, chaiConfig, root]
    return bytes.length > MOST_BYTES ? null : { bytes, sticky }
  } catch {
    // An option that cannot be sent, which vitest will say itself.
    return null
  }
}

/** Without what differs from one to the next, so that it is said once. */
function general(why: string): string {
  return (why.split('\n')[0] ?? '').replace(/\(pid \d+\)/g, '').replace(/\s+/g, ' ')
}

/** Whatever a package manager has installed, one of these says. */
const LOCK_FILES = ['package-lock.json', 'npm-shrinkwrap.json', 'yarn.lock', 'pnpm-lock.yaml', 'bun.lock', 'bun.lockb']

/** Of the folder, or of the nearest one above that has any. */
function lockFiles(folder: string): string[] {
  const found = LOCK_FILES.map((name) => join(folder, name)).filter((path) => existsSync(path))
  const above = dirname(folder)
  return found.length > 0 || above === folder ? found : lockFiles(above)
}

/** Files, the packages that they are of, and what was installed last, as they are on disk now. */
function fingerprint(paths: readonly string[], root: string): string {
  const facts = paths.map((path) => {
    const [folder] = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []
    return [path, changed(path), folder === undefined ? 0 : changed(join(folder, 'package.json'))]
  })
  return JSON.stringify([facts, lockFiles(root).map((path) => [path, changed(path)])])
}

function changed(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function strings(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (value == null ? [] : [[name, `${value}`]])))
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
