/** What the plugin does once vitest is there. Apart from the plugin, so that test code that imports fixtures loads none of it. */
import type { TestProject, Vitest } from 'vitest/node'
import { HangReporter } from '../reporters/hang-reporter.ts'
import { checkCompat, type PoolOptions, type PoolWorker, type StockPool } from './compat.ts'
import type { ResolvedOptions } from './options.ts'
import type { Limits } from './pool/deadlines.ts'
import { SupervisedWorker } from './pool/supervised-worker.ts'
import type { Forkers } from './pool/zygote/forkers.ts'
import { Run } from './run.ts'
import { isOwnScript } from './user-code.ts'

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

/** Called for each project that runs the plugin. */
export async function install(vitest: Vitest, project: TestProject, resolved: ResolvedOptions): Promise<void> {
  const { run, fresh } = runOf(vitest, resolved)
  if (fresh) {
    // Projects with a config file of their own do not run this hook; they are there when the reporters start.
    const adopt = async (): Promise<void> => {
      for (const other of vitest.projects) await cover(vitest, other, resolved, run)
    }
    vitest.config.reporters.unshift(new HangReporter(run, adopt) as never)
  }
  // A project's own plugin comes after that of the root config, which it extends.
  policies.set(project.config, resolved)
  await cover(vitest, project, resolved, run)
}

const covered = new WeakSet<object>()
/** Options of a project where they may differ from those of the run. */
const policies = new WeakMap<object, ResolvedOptions>()

async function cover(vitest: Vitest, project: TestProject, options: ResolvedOptions, run: Run): Promise<void> {
  if (covered.has(project.config)) return
  covered.add(project.config)
  const gap = await wrapPool(vitest, project, options, run)
  if (gap !== undefined) run.note(gap)
}

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
  const { zygote } = options
  const forker = zygote && pool === 'forks' ? (await forkersOf(run)).of(project, zygote) : null
  if (zygote && !forker) {
    run.note(`the pool zygote takes the place of forks${where}, and "${pool}" is configured: that one runs`)
  }
  const name = `harrow-${forker ? 'zygote' : pool}`
  config.pool = name as never
  config.poolRunner = {
    name,
    createPoolWorker: (given: PoolOptions): PoolWorker =>
      new SupervisedWorker(
        pool as StockPool,
        name,
        given,
        run,
        limitsOf(options.hang!, config),
        policies.get(config) ?? options,
        forker,
      ),
  } as never
  return undefined
}

async function forkersOf(run: Run): Promise<Forkers> {
  const { Forkers } = await import('./pool/zygote/forkers.ts')
  run.forkers ??= new Forkers((text) => run.note(text))
  return run.forkers
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
