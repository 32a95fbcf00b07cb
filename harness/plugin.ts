import type { TestProject, Vitest } from 'vitest/node'
import { nodeProblem } from '../src/process/node-version.ts'
import { BACKEND_ENV, gate, LOGLEVEL_ENV, logLevelProblem, TRANSPORT_ENV } from './backend.ts'
import { matrixProjects } from './matrix.ts'
import { type HarrowOptions, type ResolvedOptions, resolveOptions } from './options.ts'

/** The part of a vite plugin that harrow uses, so that no type of vite's is needed at this edge. */
export interface HarrowPlugin {
  name: 'harrow'
  config(config: { test?: { projects?: unknown } }): object | undefined
  configResolved(config: { test?: { projects?: unknown } }): void
  configureVitest(context: { vitest: Vitest; project: TestProject }): Promise<void>
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
    config(config) {
      // With a backend in the environment there is one to run on, and no matrix.
      if (process.env.HARROW === 'off' || resolved.matrix === null || process.env[BACKEND_ENV]) return undefined
      if (multiplied.has(config)) return undefined
      const projects = matrixProjects(resolved.matrix, config.test?.projects)
      config.test = { ...config.test, projects }
      multiplied.add(config)
      return undefined
    },
    configResolved(config) {
      if (process.env.HARROW !== 'off') warnWithoutProject(config.test?.projects)
    },
    async configureVitest({ vitest, project }) {
      if (process.env.HARROW === 'off') return
      if (!configured) warnOfOldNode()
      configured = true
      await choose(project, resolved)
      const { install } = await import('./install.ts')
      await install(vitest, project, resolved)
    },
  }
}

/** Configs that have their matrix: the plugin is called again for each project that extends them. */
const multiplied = new WeakSet<object>()
let configured = false

/** Hands backend, transport and log level to the workers of a project; a backend that cannot work ends the run. */
async function choose(project: TestProject, options: ResolvedOptions): Promise<void> {
  project.config.env ??= {}
  const env = project.config.env as Record<string, string>
  const asked = process.env[BACKEND_ENV] || env[BACKEND_ENV] || options.backend || undefined
  if (process.env[BACKEND_ENV] && options.backend && process.env[BACKEND_ENV] !== options.backend) {
    console.error(` harrow: ${BACKEND_ENV}=${process.env[BACKEND_ENV]} beats the option backend: '${options.backend}'`)
  }
  if (asked !== undefined) {
    refuse(await gate(asked))
    env[BACKEND_ENV] = asked
  }
  const transport = process.env[TRANSPORT_ENV] || options.transport
  if (transport) env[TRANSPORT_ENV] = transport
  const level = process.env[LOGLEVEL_ENV] || options.logLevel
  refuse(logLevelProblem(LOGLEVEL_ENV, level ?? undefined))
  if (level) env[LOGLEVEL_ENV] = level
}

/** Ends the run before anything is collected. */
function refuse(problem: string | undefined): void {
  if (problem === undefined) return
  console.error(`harrow: ${problem}`)
  process.exit(2)
}

/** A newer Node is a peer of vitest 5 as well, but it starts on an older one. */
function warnOfOldNode(): void {
  const old = nodeProblem()
  if (old)
    console.error(` harrow: ${old}, and vitest 5 too: here it can be wrong about what hangs. Run vitest with one.`)
}

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
