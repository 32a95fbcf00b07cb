import type { TestProject, Vitest } from 'vitest/node'
import { HangReporter } from '../reporters/hang-reporter.ts'
import { checkCompat, type PoolOptions, type PoolWorker, type StockPool } from './compat.ts'
import { type HarrowOptions, type ResolvedOptions, resolveOptions } from './options.ts'
import type { Limits } from './pool/deadlines.ts'
import { SupervisedWorker } from './pool/supervised-worker.ts'
import { Run } from './run.ts'
import { isOwnScript } from './user-code.ts'

/** The part of a vite plugin that harrow uses, so that no type of vite's is needed at this edge. */
export interface HarrowPlugin {
  name: 'harrow'
  configResolved(config: { test?: { projects?: unknown } }): void
  configureVitest(context: { vitest: Vitest; project: TestProject }): Promise<void>
}

const STATE = Symbol.for('harrow.runs')

/** Runs by resolved config: a watch-mode restart keeps the Vitest object and makes a new config. */
function runOf(vitest: Vitest, options: ResolvedOptions): { run: Run; fresh: boolean } {
  const holder = vitest as unknown as Record<symbol, WeakMap<object, Run> | undefined>
  holder[STATE] ??= new WeakMap()
  const runs = holder[STATE]
  const known = runs.get(vitest.config)
  if (known) return { run: known, fresh: false }
  const run = new Run(vitest, options)
  runs.set(vitest.config, run)
  return { run, fresh: true }
}

/**
 * The vitest plugin: every hang of the suite is named, dumped to a file and ended, and the run goes on.
 *
 * It wraps the pool that the user chose (`forks` or `threads`), whether chosen in the config, per project or by
 * `--pool`. vm pools and browser mode are left alone with one line that says so. `HARROW=off` in the environment
 * switches it off.
 *
 * @param options limits and folders, all with defaults
 * @throws UsageError for an unknown, wrong or contradictory option, before any test runs
 * @example
 * ```ts
 * // vitest.config.ts
 * import { defineConfig } from 'vitest/config'
 * import { harrow } from 'harrow/vitest'
 *
 * export default defineConfig({ plugins: [harrow()] })
 * ```
 */
export function harrow(options?: HarrowOptions): HarrowPlugin {
  const resolved = resolveOptions(options)
  return {
    name: 'harrow',
    configResolved(config) {
      if (process.env.HARROW !== 'off') warnWithoutProject(config.test?.projects)
    },
    async configureVitest({ vitest, project }) {
      if (process.env.HARROW === 'off') return
      configured = true
      const { run, fresh } = runOf(vitest, resolved)
      if (fresh) {
        // Projects with a config file of their own do not run this hook; they are there when the reporters start.
        const adopt = async (): Promise<void> => {
          for (const other of vitest.projects) await cover(vitest, other, resolved, run)
        }
        vitest.config.reporters.unshift(new HangReporter(run, adopt) as never)
      }
      await cover(vitest, project, resolved, run)
    },
  }
}

const covered = new WeakSet<object>()

async function cover(vitest: Vitest, project: TestProject, options: ResolvedOptions, run: Run): Promise<void> {
  if (covered.has(project.config)) return
  covered.add(project.config)
  const gap = await wrapPool(vitest, project, options, run)
  if (gap !== undefined) run.note(gap)
}

let configured = false

/**
 * vitest runs the plugins of a root config only for the projects that extend it. When every project has a config file
 * of its own and none lists the plugin, nothing of harrow would run, and nothing would say so.
 */
function warnWithoutProject(projects: unknown): void {
  if (!Array.isArray(projects) || !projects.some((entry) => typeof entry === 'string')) return
  setTimeout(() => {
    if (configured) return
    console.error(
      ' harrow: not active. Projects with a config file of their own do not run the plugins of the root config: add harrow() to the plugins of at least one of them.',
    )
  }, WARN_MS).unref()
}

/** Projects are configured well within this time, or the warning comes a moment early. */
const WARN_MS = 5000

/** @returns undefined when the pool is supervised, else one sentence that says what is not covered */
async function wrapPool(
  vitest: Vitest,
  project: TestProject,
  options: ResolvedOptions,
  run: Run,
): Promise<string | undefined> {
  const { config } = project
  const where = project.name ? ` of project "${project.name}"` : ''
  if (options.hang === null) return undefined
  if (config.browser?.enabled)
    return `browser mode${where} is not supervised: hangs there are ended by vitest's own limits only`
  const pool: string = config.pool
  if (pool === 'typescript') return undefined
  if (pool !== 'forks' && pool !== 'threads') {
    return `pool "${pool}"${where} is not supervised (forks and threads are): a blocked loop there still hangs the run`
  }
  if (isDebugged(vitest, config)) {
    return 'a debugger is in use (--inspect or an editor): nothing is supervised, a test may stand at a breakpoint for as long as it likes'
  }
  const missing = await checkCompat(vitest)
  if (missing)
    return `vitest ${vitest.version} is not supported: ${missing}. The stock pool runs, nothing is supervised.`
  hideOwnFrames(config)
  if (vitest.config !== config) hideOwnFrames(vitest.config)
  const name = `harrow-${pool}`
  config.pool = name as never
  config.poolRunner = {
    name,
    createPoolWorker: (given: PoolOptions): PoolWorker =>
      new SupervisedWorker(pool as StockPool, name, given, run, limitsOf(options.hang!, config)),
  } as never
  return undefined
}

/** A debugger may hold a test at a breakpoint: by vitest's flags, Node's, or an editor that attaches by itself. */
function isDebugged(vitest: Vitest, config: TestProject['config']): boolean {
  const { inspector } = vitest.config as { inspector?: { enabled?: boolean; openInMainProcess?: boolean } }
  if (inspector?.enabled || inspector?.openInMainProcess || process.env.VSCODE_INSPECTOR_OPTIONS) return true
  const flags = [...(config.execArgv ?? []), ...process.execArgv, process.env.NODE_OPTIONS ?? ''].join(' ')
  return /--inspect(?!-port|-publish)|js-debug.*bootloader/.test(flags)
}

const hidden = new WeakSet<object>()

/** The frames of harrow that stand between vitest and a test have no place in the stacks that users read. */
function hideOwnFrames(config: TestProject['config']): void {
  if (hidden.has(config)) return
  hidden.add(config)
  const { onStackTrace } = config
  config.onStackTrace = (error, frame) => (isOwnScript(frame.file) ? false : onStackTrace?.(error, frame))
}

function limitsOf(hang: NonNullable<ResolvedOptions['hang']>, config: TestProject['config']): Limits {
  return {
    grace: hang.grace,
    blocked: hang.blocked,
    collect: hang.collect,
    start: hang.start,
    stop: hang.stop ?? config.teardownTimeout ?? 10_000,
    teardown: hang.teardown ?? (config.hookTimeout > 0 ? config.hookTimeout : hang.untimed),
    untimed: hang.untimed,
  }
}
