import { type Stats, unlinkSync } from 'node:fs'

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
