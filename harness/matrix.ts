/** One project for each backend. */
import { UsageError } from '../src/errors.ts'
import { isSpawnMethod, MATRIX_METHODS, SPAWN_METHODS, type SpawnMethod } from '../src/spawn/methods.ts'
import { BACKEND_ENV } from './backend.ts'

/** @throws UsageError for a name that is no backend */
export function matrixOf(value: unknown): readonly SpawnMethod[] | null {
  if (value === undefined || value === false) return null
  if (value === true) return MATRIX_METHODS
  if (Array.isArray(value) && value.length > 0 && value.every(isSpawnMethod))
    return [...new Set(value as SpawnMethod[])]
  throw new UsageError(
    `harrow() option "matrix" expects true or a list of backends (${SPAWN_METHODS.join(', ')}), got ${JSON.stringify(value)}.`,
  )
}

interface Project {
  extends?: boolean | string
  test?: { name?: string; env?: Record<string, string> }
  [key: string]: unknown
}

/**
 * The projects of a matrix: each project that is there (or the config itself) once a backend, with `HARROW_BACKEND` in its
 * environment, named `backend:spawn`, or `<name>:spawn`.
 *
 * @throws UsageError for projects that are only named by a path: their plugins are their own
 */
export function matrixProjects(backends: readonly SpawnMethod[], projects: unknown): Project[] {
  const given = projects === undefined ? [{ extends: true }] : (projects as unknown[])
  return given.flatMap((project) => {
    if (typeof project !== 'object' || project === null) {
      throw new UsageError(
        `harrow() option "matrix" multiplies inline projects; ${JSON.stringify(project)} is none: put harrow({ matrix }) into its own config.`,
      )
    }
    const { test, ...rest } = project as Project
    return backends.map((backend) => ({
      ...rest,
      extends: rest.extends ?? true,
      test: {
        ...test,
        name: `${test?.name ?? 'backend'}:${backend}`,
        env: { ...test?.env, [BACKEND_ENV]: backend },
      },
    }))
  })
}
