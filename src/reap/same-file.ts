import { readdirSync, type Stats, unlinkSync } from 'node:fs'

/**
 * Unlinks the file that was looked at, not one that took its place meanwhile.
 *
 * @param now looks at the path once more
 */
export function unlinkSame(path: string, before: Stats, now: (path: string) => Stats | undefined): boolean {
  const stat = now(path)
  if (stat?.ino !== before.ino || stat.dev !== before.dev) return false
  try {
    unlinkSync(path)
    return true
  } catch {
    return false
  }
}

/** Names in a folder that anybody may write to, such as `/tmp`; none when it cannot be read. */
export function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
