import { fileURLToPath } from 'node:url'

/** Path of a child's entry beside a module: from source in a checkout, from dist in the package. */
export function entryPath(base: string, name = 'entry'): string {
  return fileURLToPath(new URL(`./${name}${base.endsWith('.ts') ? '.ts' : '.js'}`, base))
}
