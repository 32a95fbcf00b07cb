/**
 * Who has the file lock that a process waits for, from `/proc/locks` (proc_locks(5)). Rows with `->` are waiters, as
 * those of flock(2) and of F_SETLKW; SQLite tries again and again instead, so its databases are looked at by their files.
 */
import { closeSync, openSync, readSync, statSync } from '../process/clean.ts'
import { descriptorTarget, openDescriptors, processWords } from '../process/descriptors.ts'
import { listPids, readText } from '../process/procfs.ts'

/** Sentences about locks that a process waits for, without a subject: `waits for an exclusive FLOCK lock held by 12 ...`. */
export function awaitedLocks(pid: number): string[] {
  const sentences: string[] = []
  const rows = (readText('/proc/locks') ?? '').split('\n')
  for (const row of rows) {
    const match = /^(\d+): ->\s+(\w+)\s+\w+\s+(\w+)\s+(\d+)/.exec(row)
    if (!match || Number(match[4]) !== pid) continue
    const holder = rows.find((other) => other.startsWith(`${match[1]}: `) && !other.includes('->'))?.split(/\s+/)[4]
    const by = holder && Number(holder) > 0 ? ` held by ${processWords(Number(holder))}` : ''
    sentences.push(`waits for ${match[3] === 'READ' ? 'a shared' : 'an exclusive'} ${match[2]} lock${by}`)
  }
  return sentences
}

const MAGIC = 'SQLite format 3\0'
const MOST_FILES = 200

/** Sentences about SQLite databases that a process has open and another one has locked: `/tmp/x.db is locked (...) by 12 ...`. */
export function lockedDatabases(pid: number): string[] {
  const databases = databasesOf(pid)
  if (databases.size === 0) return []
  // `3: POSIX  ADVISORY  WRITE 1304 fe:00:123456 1073741826 1073742335`
  const rows = (readText('/proc/locks') ?? '').split('\n').map((row) => row.trim().split(/\s+/))
  const sentences = new Map<string, string>()
  for (const [path, inode] of databases) {
    for (const suffix of ['', '-shm', '-wal']) {
      const wanted = suffix === '' ? inode : inodeAt(pid, path + suffix)
      for (const [, kind, , access, holder, place] of rows) {
        if (wanted === undefined || place?.split(':')[2] !== wanted || Number(holder) === pid) continue
        const known = sentences.get(path)
        if (known !== undefined && access !== 'WRITE') continue
        const by = Number(holder) > 0 ? processWords(Number(holder)) : otherUsers(pid, path)
        sentences.set(path, `the database ${path} is locked (${kind} ${access}) by ${by}`)
      }
    }
  }
  return [...sentences.values()]
}

/** Paths of the databases that it has open, with their inodes. */
function databasesOf(pid: number): Map<string, string> {
  const found = new Map<string, string>()
  for (const fd of openDescriptors(pid).slice(0, MOST_FILES)) {
    const path = descriptorTarget(pid, fd)
    if (path === undefined || !path.startsWith('/') || found.has(path)) continue
    const file = `/proc/${pid}/fd/${fd}`
    try {
      const stat = statSync(file)
      if (stat.isFile() && beginsWith(file, MAGIC)) found.set(path, String(stat.ino))
    } catch {
      // Closed meanwhile, or another user's.
    }
  }
  return found
}

function beginsWith(path: string, text: string): boolean {
  const fd = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(text.length)
    return readSync(fd, bytes, 0, bytes.length, 0) === bytes.length && bytes.toString('latin1') === text
  } finally {
    closeSync(fd)
  }
}

function inodeAt(pid: number, path: string): string | undefined {
  try {
    return String(statSync(`/proc/${pid}/root${path}`).ino)
  } catch {
    return undefined
  }
}

/** The kernel does not tell the holder (another pid namespace): who has the file open at all? */
function otherUsers(pid: number, path: string): string {
  const users = listPids().filter(
    (other) => other !== pid && openDescriptors(other).some((fd) => descriptorTarget(other, fd) === path),
  )
  return users.length === 0
    ? 'a process that cannot be seen'
    : users
        .slice(0, 3)
        .map((one) => processWords(one))
        .join(' or ')
}
