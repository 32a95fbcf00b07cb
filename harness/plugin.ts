import type { TestProject, Vitest } from 'vitest/node'
import { type HarrowOptions, resolveOptions } from './options.ts'

/** The part of a vite plugin that harrow uses, so that no type of vite's is needed at this edge. */
export interface HarrowPlugin {
  name: 'harrow'
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
    configResolved(config) {
      if (process.env.HARROW !== 'off') warnWithoutProject(config.test?.projects)
    },
    async configureVitest({ vitest, project }) {
      if (process.env.HARROW === 'off') return
      configured = true
      const { install } = await import('./install.ts')
      await install(vitest, project, resolved)
    },
  }
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
