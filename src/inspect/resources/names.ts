/** Names for what a snapshot only counts: descriptors, children, unix sockets, shared memory. About 0.3 ms. */
import { readdirSync, statSync } from '../../process/clean.ts'
import { describeDescriptor, processWords, socketInode } from '../../process/descriptors.ts'
import { childrenOf, linkTarget, listDirectory, readStat, readText } from '../../process/procfs.ts'

/** All maps: key that is the same as long as the thing is the same, to a name for people. */
export interface ResourceNames {
  descriptors: Map<string, string>
  children: Map<string, string>
  /** Sockets of this process that have a path. */
  unixSockets: Map<string, string>
  /** Files in `/dev/shm`, whoever made them. */
  shm: Map<string, string>
  /** Events of `process` with their number of listeners. */
  listeners: Map<string, string>
}

export type NameKind = keyof ResourceNames

export interface NameChange {
  kind: NameKind
  /** False when it was there before and is gone. */
  appeared: boolean
  name: string
  /** For a child. */
  pid?: number
}

/** The search for the other end of a pipe takes up to 60 ms. */
const MOST_DESCRIBED = 4

/** What Node opens for itself and keeps: its loops, the watch on files. */
const OWN_DESCRIPTORS = /^anon_inode:|^\/proc\//

const eventNames = process.eventNames.bind(process)
const listenerCount = process.listenerCount.bind(process)

/** Takes the names of now. Empty where `/proc` is missing; never throws. */
export function takeNames(): ResourceNames {
  const descriptors = new Map<string, string>()
  const inodes = new Set<string>()
  for (const fd of listDirectory('/proc/self/fd') ?? []) {
    // The listing itself had a descriptor that is gone by now.
    const target = linkTarget(`/proc/self/fd/${fd}`)
    if (target === undefined || OWN_DESCRIPTORS.test(target)) continue
    descriptors.set(`${fd} ${target}`, `fd ${fd} (${target})`)
    const inode = socketInode(target)
    if (inode !== undefined) inodes.add(inode)
  }
  const children = new Map<string, string>()
  for (const pid of childrenOf(process.pid)) {
    const stat = readStat(pid)
    if (stat) children.set(`${pid} ${stat.start}`, processWords(pid))
  }
  return { descriptors, children, unixSockets: unixSockets(inodes), shm: shmFiles(), listeners: processListeners() }
}

function unixSockets(inodes: ReadonlySet<string>): Map<string, string> {
  const found = new Map<string, string>()
  if (inodes.size === 0) return found
  for (const line of (readText('/proc/self/net/unix') ?? '').split('\n').slice(1)) {
    const [, , , , , , inode, path] = line.trim().split(/\s+/)
    if (inode && path && inodes.has(inode)) found.set(`${inode} ${path}`, path)
  }
  return found
}

function shmFiles(): Map<string, string> {
  try {
    if (process.platform !== 'linux') return new Map()
    return new Map(readdirSync('/dev/shm').map((name) => [name, `/dev/shm/${name}`]))
  } catch {
    return new Map()
  }
}

function processListeners(): Map<string, string> {
  return new Map(
    eventNames().map((name) => {
      const words = `${listenerCount(name)} for '${String(name)}'`
      return [words, words]
    }),
  )
}

/**
 * What has come and what has gone. Call it right after `after` was taken: new descriptors are described as they are now.
 */
export function nameChanges(before: ResourceNames, after: ResourceNames): NameChange[] {
  const changes: NameChange[] = []
  let described = 0
  for (const kind of Object.keys(after) as NameKind[]) {
    for (const [key, name] of after[kind]) {
      if (before[kind].has(key) || (kind === 'shm' && isForeign(name))) continue
      const number = Number.parseInt(key, 10)
      const words = kind === 'descriptors' && described++ < MOST_DESCRIBED ? describe(number, name) : name
      changes.push({ kind, appeared: true, name: words, ...(kind === 'children' && { pid: number }) })
    }
    for (const [key, name] of before[kind]) {
      if (after[kind].has(key)) continue
      changes.push({ kind, appeared: false, name, ...(kind === 'children' && { pid: Number.parseInt(key, 10) }) })
    }
  }
  return changes
}

/** Other users' programs use `/dev/shm` as well. */
function isForeign(path: string): boolean {
  try {
    const uid = statSync(path, { throwIfNoEntry: false })?.uid
    return uid === undefined || uid !== process.geteuid?.()
  } catch {
    return true
  }
}

function describe(fd: number, otherwise: string): string {
  try {
    return describeDescriptor(process.pid, fd)
  } catch {
    return otherwise
  }
}
