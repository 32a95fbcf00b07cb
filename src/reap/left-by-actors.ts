/** What dead trees of actors have left in the runtime folder: sockets of who was killed, folders of logs. */
import { lstatSync, rmdirSync, type Stats, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Swept } from './files.ts'
import { entriesOf } from './same-file.ts'
import { sweepSockets } from './sockets.ts'

const HOUR_MS = 60 * 60_000
/** So long whoever looks into a hang finds the trees of it. */
const KEEP_MS = 7 * 24 * HOUR_MS
/** Names of what is kept in it beside sockets, and may be made again. */
const AGING = /^(harrow-tree-\d+\.log|fork-works-[0-9a-f]+)$/

/**
 * Removes sockets whose creator is dead ({@link sweepSockets}), folders of logs that are empty for an hour, and task trees and
 * results of self-tests that nothing was written to for a week. A folder with logs in it stays: nothing says that its tree, a daemon
 * for example, is dead.
 *
 * @param folder the runtime folder, which is ours alone
 * @param options.dryRun only say what would be removed
 * @param options.limitMs stop after so long; the next sweep goes on
 * @returns what was removed, and why. Never throws.
 */
export async function sweepRuntimeDir(
  folder: string,
  options: { dryRun?: boolean; limitMs?: number } = {},
): Promise<Swept> {
  const until = Date.now() + (options.limitMs ?? Number.POSITIVE_INFINITY)
  const sockets = await sweepSockets(folder, options)
  const old = [...oldEntries(join(folder, 'logs'), () => true), ...oldEntries(folder, (name) => AGING.test(name))]
  for (const { path, stat } of old) {
    if (Date.now() > until) break
    const isFolder = stat.isDirectory()
    const reason = isFolder ? 'it is empty' : 'nothing was written to it for a week'
    if (options.dryRun ? !isFolder || entriesOf(path).length === 0 : removed(path, isFolder))
      sockets.removed.push({ path, reason })
  }
  return sockets
}

/** What is older than an hour, or, for a file, than a week. A link is nobody's business. */
function oldEntries(folder: string, mine: (name: string) => boolean): { path: string; stat: Stats }[] {
  return entriesOf(folder).flatMap((name) => {
    const path = join(folder, name)
    const stat = mine(name) ? lstatSync(path, { throwIfNoEntry: false }) : undefined
    const least = stat?.isDirectory() ? HOUR_MS : stat?.isFile() ? KEEP_MS : Number.POSITIVE_INFINITY
    return stat && Date.now() - stat.mtimeMs > least ? [{ path, stat }] : []
  })
}

function removed(path: string, isFolder: boolean): boolean {
  try {
    if (isFolder) rmdirSync(path)
    else unlinkSync(path)
    return true
  } catch {
    // Not empty, or somebody else has removed it.
    return false
  }
}
