/** What dead trees of actors have left in the runtime folder: sockets of who was killed, folders of logs. */
import { lstatSync, rmdirSync, type Stats, unlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isRunning } from '../process/identity.ts'
import { available, bootId } from '../process/procfs.ts'
import type { Swept } from './files.ts'
import { findMembers } from './members.ts'
import { entriesOf } from './same-file.ts'
import { sweepSockets } from './sockets.ts'

const HOUR_MS = 60 * 60_000
/** So long whoever looks into a hang finds the trees of it. */
const KEEP_MS = 7 * 24 * HOUR_MS
/** Names of what is kept in it beside sockets, and may be made again. */
const AGING = /^(harrow-tree-\d+\.log|fork-works-[0-9a-f]+)$/

/** Folder of the logs of a tree: the tree, and the process of its root. */
const LOGS = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d+)\.(\d+)$/

/**
 * Removes sockets whose creator is dead ({@link sweepSockets}), folders of logs that are empty for an hour, and task trees and
 * results of self-tests that nothing was written to for a week. Logs of that age go when the root of their tree is dead and no
 * process of it is left; those of a folder whose name does not tell that stay.
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
    const logs = isFolder ? entriesOf(path) : []
    if (logs.length > 0) {
      const dead = logsOfDead(path, logs)
      if (dead && (options.dryRun || removedAll(path, logs))) sockets.removed.push({ path, reason: dead })
    } else if (options.dryRun || removed(path, isFolder)) {
      sockets.removed.push({ path, reason: isFolder ? 'it is empty' : 'nothing was written to it for a week' })
    }
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

/** @returns why they may go; undefined when they stay */
function logsOfDead(folder: string, logs: readonly string[]): string | undefined {
  const [, tree, pid, start] = LOGS.exec(basename(folder)) ?? []
  const boot = process.platform === 'linux' ? (available() ? bootId() : undefined) : 'epoch'
  if (tree === undefined || boot === undefined) return undefined
  const old = logs.every((name) => {
    const stat = lstatSync(join(folder, name), { throwIfNoEntry: false })
    return stat?.isFile() && Date.now() - stat.mtimeMs > KEEP_MS
  })
  if (!old || isRunning({ bootId: boot, pid: Number(pid), start: Number(start) })) return undefined
  // An actor that was told to stay has outlived its root, and may write again.
  if (findMembers({ tag: { name: 'HARROW_TREE', value: tree } }).members.length > 0) return undefined
  return `its tree, of process ${pid}, is gone, and nothing was written to it for a week`
}

function removedAll(folder: string, names: readonly string[]): boolean {
  for (const name of names) removed(join(folder, name), false)
  return removed(folder, true)
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
