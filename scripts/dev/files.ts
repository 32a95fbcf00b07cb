import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Paths of all files below `folder/under` that end so, relative to `folder`, with `/`. */
export function filesBelow(folder: string, under: string, ending: string): string[] {
  return readdirSync(join(folder, under), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${under}/${name}`.replaceAll('\\', '/').replace(/^\.\//, ''))
    .filter((name) => !name.includes('node_modules/'))
    .sort()
}
