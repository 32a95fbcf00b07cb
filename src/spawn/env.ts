import { runtimeDir } from '../process/runtime-dir.ts'
import { childNodeOptions } from './exec-argv.ts'
import type { SpawnMethod } from './methods.ts'

/** Names that a runner gives its own workers; an actor is none of them. */
const RUNNERS =
  /^(VITEST_|NODE_TEST_|JEST_WORKER_ID$|TINYPOOL_|NODE_CHANNEL_|NODE_UNIQUE_ID$|HARROW_WORKER$|NODE_V8_COVERAGE$)/

/**
 * The environment of a child: ours with the labels by which it is known, without what belongs to a test runner or an
 * inspector. The marks of a run (`HARROW_SESSION`, `HARROW_MEMBER`) stay.
 */
export function childEnv(labels: { tree: string; backend: SpawnMethod }): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !RUNNERS.test(name)) env[name] = value
  }
  if (env.NODE_OPTIONS !== undefined) {
    const options = childNodeOptions(env.NODE_OPTIONS)
    if (options === '') delete env.NODE_OPTIONS
    else env.NODE_OPTIONS = options
  }
  env.HARROW_TREE = labels.tree
  env.HARROW_COMPILE_CACHE ??= `${runtimeDir()}/compile-cache`
  return env
}

/**
 * Switches Node's compile cache on for a child: by the environment, since `module.enableCompileCache()` costs its start a
 * millisecond. The child takes the variable out again.
 */
export function withCompileCache(env: Readonly<Record<string, string>>): Record<string, string> {
  const folder = env.HARROW_COMPILE_CACHE
  if (!folder || env.NODE_COMPILE_CACHE !== undefined || env.NODE_DISABLE_COMPILE_CACHE) return { ...env }
  return { ...env, NODE_COMPILE_CACHE: folder }
}
