/** Files in `/dev/shm` that nobody uses any more. Linux. */
import { lstatSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { available, linkTarget, listDirectory, listPids, PF_KTHREAD, readStat, readText } from '../process/procfs.ts'
import type { Swept } from './files.ts'
import { entriesOf, unlinkSame } from './same-file.ts'

const FOLDER = '/dev/shm'
/** A file of unknown origin that is younger than this may be between its creation and its first user, milliseconds. */
const YOUNG_MS = 60_000

/** A run, for the owner of a file by its name. */
export interface KnownRun {
  id: string
  alive: boolean
}

export interface ShmOptions {
  /** Only say what would be removed. */
  dryRun?: boolean
  /** Runs that are known: files named after a dead one are removed. */
  runs?: Iterable<KnownRun>
  /** Also files that belong to no run: regular, our own user's, not young, mapped or opened by nobody. */
  foreign?: boolean
  /** A foreign file younger than this is kept, milliseconds. Default a minute. */
  youngMs?: number
  /** Folder to look in, default `/dev/shm`. */
  folder?: string
}

/** {@link Swept}, or the reason why nothing can be swept here. */
export interface ShmSwept extends Swept {
  unsupported: string | null
}

/**
 * Name for a file of a run in `/dev/shm`, by which it can be removed when the run is dead: `harrow-<id>-<name>`.
 *
 * @param id id of the run
 * @param name what it is
 */
export function shmName(id: string, name: string): string {
  return `harrow-${id}-${name}`
}

/**
 * Removes files in `/dev/shm`: those named after a dead run, and with `foreign` those of our user that nobody uses. What a
 * process maps or has open is kept. For foreign files a process that cannot be looked into counts as a user, so without
 * root they are usually kept. Users in another pid namespace cannot be seen.
 *
 * @returns what was (or would be) removed, and the candidates that were kept with the reason; never throws
 */
export function sweepShm(options: ShmOptions = {}): ShmSwept {
  const { dryRun = false, foreign = false, youngMs = YOUNG_MS, folder = FOLDER } = options
  const swept: ShmSwept = { removed: [], kept: [], unsupported: null }
  if (!available()) {
    return {
      ...swept,
      unsupported: `who uses ${folder} can only be seen on Linux with /proc, so nothing is removed there`,
    }
  }
  const runs = [...(options.runs ?? [])].sort((a, b) => b.id.length - a.id.length)
  const candidates = entriesOf(folder).flatMap((name): Candidate[] => {
    const path = join(folder, name)
    const stat = ownFile(path)
    if (!stat) return []
    // The longest id first: one id may be the beginning of another.
    const run = runs.find(({ id }) => name.startsWith(shmName(id, '')))
    if (run) return run.alive ? [] : [{ path, name, stat, run: run.id }]
    return foreign ? [{ path, name, stat, run: null }] : []
  })
  if (candidates.length === 0) return swept

  const users = usersOf(candidates)
  for (const candidate of candidates) {
    const { path, run, stat } = candidate
    const reason = whyKept(candidate, users, youngMs)
    if (reason !== undefined) swept.kept.push({ path, reason })
    else if (dryRun || unlinkSame(path, stat, ownFile)) {
      swept.removed.push({ path, reason: run === null ? 'nobody maps or opens it' : `its run ${run} is dead` })
    } else swept.kept.push({ path, reason: 'it could not be removed' })
  }
  return swept
}

interface Candidate {
  path: string
  name: string
  stat: Stats
  run: string | null
}

interface Users {
  /** Pid of a user by file name. */
  found: Map<string, number>
  /** Processes that could not be looked into. */
  hidden: number[]
}

function whyKept({ name, stat, run }: Candidate, { found, hidden }: Users, youngMs: number): string | undefined {
  const user = found.get(name)
  if (user !== undefined) return `process ${user} uses it`
  if (run !== null) return undefined
  // The time of a change of the inode cannot be set, unlike that of the content.
  if (Date.now() - stat.ctimeMs < youngMs) return `it is less than ${Math.round(youngMs / 1000)} s old`
  if (hidden.length === 0) return undefined
  const others = hidden.length === 1 ? `process ${hidden[0]}` : `${hidden.length} processes`
  return `${others} of other users could not be looked into and may use it`
}

/** Who maps or has open one of the files. By name and not by path: other mount namespaces show other paths. */
function usersOf(candidates: Candidate[]): Users {
  const users: Users = { found: new Map(), hidden: [] }
  const byName = new Map(candidates.map(({ name }) => [name, name]))
  const byInode = new Map(candidates.map(({ name, stat }) => [`${stat.dev}/${stat.ino}`, name]))
  const pids = listPids()
  // With `hidepid` the processes of others are not even listed.
  if (!pids.includes(1)) users.hidden.push(1)
  for (const pid of pids) {
    const maps = readText(`/proc/${pid}/maps`)
    const descriptors = listDirectory(`/proc/${pid}/fd`)
    if (maps === undefined || descriptors === undefined) {
      if (hasMemory(pid)) users.hidden.push(pid)
    }
    for (const line of maps?.split('\n') ?? []) {
      if (!line.includes('/')) continue
      const [, , , device = '', inode = '', path = ''] = line.split(/\s+/, 6)
      const name = byName.get(baseOf(path)) ?? byInode.get(`${deviceNumber(device)}/${inode}`)
      if (name !== undefined) users.found.set(name, pid)
    }
    for (const fd of descriptors ?? []) {
      const name = byName.get(baseOf(linkTarget(`/proc/${pid}/fd/${fd}`) ?? ''))
      if (name !== undefined) users.found.set(name, pid)
    }
  }
  return users
}

/** False when the process is gone, dead or a kernel thread: those use nothing. */
function hasMemory(pid: number): boolean {
  const stat = readStat(pid)
  return stat !== undefined && stat.state !== 'Z' && stat.state !== 'X' && (stat.flags & PF_KTHREAD) === 0
}

/** `st_dev` of `00:1a` in a map, as makedev(3) packs it. */
function deviceNumber(text: string): number {
  const [major = 0, minor = 0] = text.split(':').map((part) => Number.parseInt(part, 16))
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)
}

function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function ownFile(path: string): Stats | undefined {
  try {
    const stat = lstatSync(path)
    return stat.isFile() && stat.uid === process.getuid?.() ? stat : undefined
  } catch {
    return undefined
  }
}
