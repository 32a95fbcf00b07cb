import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { SpawnMethod } from './methods.ts'

const known = new Map<SpawnMethod, string>()

/**
 * Path of the first module of a backend's child: beside this file in a checkout (as `.ts`), below the folder of the bundle in
 * the package.
 */
export function entryPath(method: SpawnMethod): string {
  let path = known.get(method)
  if (path === undefined) {
    const endings = import.meta.url.endsWith('.ts') ? ['ts'] : ['cjs', 'js']
    const places = endings.flatMap((ending) => [`./${method}/entry.${ending}`, `./spawn/${method}/entry.${ending}`])
    const found = places
      .map((place) => fileURLToPath(new URL(place, import.meta.url)))
      .find((place) => existsSync(place))
    if (found === undefined) throw new Error(`harrow is not installed whole: the entry of backend ${method} is missing`)
    path = found
    known.set(method, path)
  }
  return path
}
