/**
 * The snapshot that is taken around every test: numbers only, about 10 us. It says that something changed, not what; names
 * are looked up afterwards, by `names.ts`, when a number has moved.
 */
import v8 from 'node:v8'
import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from '../../process/clean.ts'

/** Counts of one moment; null is unknown here (not Linux, `/proc` not mounted). */
export interface ResourceSnapshot {
  /** Open handles of this thread, see `HandleRegistry.size`. */
  handles: number | null
  /** Bytes of the JavaScript heap in use; garbage included. */
  heapUsed: number
  /** Bytes outside the heap that JavaScript objects hold. */
  external: number
  contexts: number
  /** Contexts that are gone for JavaScript, but not collected. */
  detachedContexts: number
  /** Descriptors of the process. */
  fds: number | null
  /** Threads of the process. */
  threads: number | null
  /** Child processes that this thread started, ended ones included until they are waited for. */
  children: number | null
  /** Resident bytes of the process. */
  rss: number | null
  /** When a file came to or went from `/dev/shm` for the last time, milliseconds since the epoch. */
  shmChangedAt: number | null
  /** Listeners on `process`. */
  listeners: number
}

/** The counts that are kept of every test. */
export type ResourceCounts = Pick<ResourceSnapshot, 'heapUsed' | 'fds' | 'children' | 'listeners'>

export interface Snapshots {
  /** Takes one; never throws. */
  take(): ResourceSnapshot
  /**
   * A third of a snapshot, for every test.
   * @param children count children too: only worth while when one was started
   */
  counts(children: boolean): ResourceCounts
  /** Active resources of this thread by Node's name for them (`Timeout`, `TCPServerWrap`); workers are not among them. */
  kinds(): Record<string, number>
  /** Closes the descriptors that it keeps. */
  close(): void
}

const LINUX = process.platform === 'linux'
const QUIET = { throwIfNoEntry: false } as const
const SPACE = 0x20
const PAGE_SIZES = [4096, 16_384, 65_536]

// Copies of what the user's tests may replace.
const heapStatistics = v8.getHeapStatistics
const activeResources = process.getActiveResourcesInfo.bind(process)
const eventNames = process.eventNames.bind(process)
const listenerCount = process.listenerCount.bind(process)
const residentBytes = process.memoryUsage.rss

/**
 * Opens what a snapshot reads again and again. Call it in the thread whose snapshots are wanted; it takes up to two
 * descriptors.
 *
 * @param registry whose handles are counted, see `installHandles`
 */
export function openSnapshots(registry?: { readonly size: number }): Snapshots {
  // The children of a process are listed by the thread that started them.
  let childrenFile = openQuietly('/proc/thread-self/children')
  let memoryFile = openQuietly('/proc/self/statm')
  const buffer = Buffer.allocUnsafeSlow(4096)
  const pageSize = guessPageSize(memoryFile, buffer)
  const descriptors = fdCounter()

  return {
    take() {
      const heap = heapStatistics()
      const children = childrenFile === null ? null : countWords(childrenFile, buffer)
      if (children === null) childrenFile = null
      const pages = memoryFile === null ? null : secondNumber(memoryFile, buffer)
      if (pages === null) memoryFile = null
      return {
        handles: sizeOf(registry),
        heapUsed: heap.used_heap_size,
        external: heap.external_memory,
        contexts: heap.number_of_native_contexts,
        detachedContexts: heap.number_of_detached_contexts,
        fds: descriptors.count(),
        threads: countThreads(),
        children,
        rss: pages === null ? null : pages * pageSize,
        shmChangedAt: LINUX ? (look('/dev/shm')?.mtimeMs ?? null) : null,
        listeners: countListeners(),
      }
    },
    counts(withChildren) {
      const children = withChildren && childrenFile !== null ? countWords(childrenFile, buffer) : null
      return {
        heapUsed: heapStatistics().used_heap_size,
        fds: descriptors.count(),
        children,
        listeners: countListeners(),
      }
    },
    kinds() {
      const counts: Record<string, number> = {}
      for (const kind of activeResources()) counts[kind] = (counts[kind] ?? 0) + 1
      return counts
    },
    close() {
      descriptors.close()
      for (const file of [childrenFile, memoryFile]) if (file !== null) closeQuietly(file)
      childrenFile = null
      memoryFile = null
    },
  }
}

function sizeOf(registry: { readonly size: number } | undefined): number | null {
  try {
    return registry?.size ?? null
  } catch {
    return null
  }
}

function openQuietly(path: string): number | null {
  if (!LINUX) return null
  try {
    return openSync(path, 'r')
  } catch {
    return null
  }
}

function closeQuietly(file: number): void {
  try {
    closeSync(file)
  } catch {
    // The user's code closed all descriptors.
  }
}

function look(path: string): { size: number; nlink: number; mtimeMs: number } | undefined {
  try {
    return statSync(path, QUIET)
  } catch {
    return undefined
  }
}

/** Bytes read from the start of a file that is kept open; null when it cannot be read any more. */
function reread(file: number, buffer: Buffer): number | null {
  try {
    return readSync(file, buffer, 0, buffer.length, 0)
  } catch {
    return null
  }
}

/** Each word of `/proc/thread-self/children` ends with a blank. */
function countWords(file: number, buffer: Buffer): number | null {
  const length = reread(file, buffer)
  if (length === null) return null
  let count = 0
  for (let at = 0; at < length; at++) if (buffer[at] === SPACE) count++
  return count
}

/** Second number of `/proc/self/statm`: resident pages. */
function secondNumber(file: number, buffer: Buffer): number | null {
  const length = reread(file, buffer)
  if (length === null) return null
  let at = 0
  while (at < length && buffer[at] !== SPACE) at++
  let number = 0
  for (at++; at < length && buffer[at] !== SPACE; at++) number = number * 10 + buffer[at]! - 48
  return number > 0 && Number.isSafeInteger(number) ? number : null
}

function guessPageSize(memoryFile: number | null, buffer: Buffer): number {
  const pages = memoryFile === null ? null : secondNumber(memoryFile, buffer)
  if (pages === null) return 4096
  const bytes = residentBytes() / pages
  return PAGE_SIZES.toSorted((a, b) => Math.abs(a - bytes) - Math.abs(b - bytes))[0]!
}

/** Linux tells the number of descriptors as the size of the folder, since 6.2; before it has to be listed. */
function fdCounter(): { count(): number | null; close(): void } {
  const nothing = { count: () => null, close() {} }
  if (!LINUX) return nothing
  const size = look('/proc/self/fd')?.size
  if (size === undefined) return nothing
  if (size > 0) return keptCounter() ?? { ...nothing, count: () => look('/proc/self/fd')?.size ?? null }
  const count = (): number | null => {
    try {
      // One of them is the listing's own.
      return readdirSync('/proc/self/fd').length - 1
    } catch {
      return null
    }
  }
  return { ...nothing, count }
}

/** Half the time of a look by path: the folder is kept open, and known by its inode, for a test may close descriptors. */
function keptCounter(): { count(): number | null; close(): void } | undefined {
  const kept = openQuietly('/proc/self/fd')
  if (kept === null) return undefined
  const inode = fstatSync(kept).ino
  const own = (): { size: number } | undefined => {
    try {
      const stat = fstatSync(kept)
      return stat.ino === inode ? stat : undefined
    } catch {
      return undefined
    }
  }
  return {
    count: () => (own() ?? look('/proc/self/fd'))?.size ?? null,
    close() {
      if (own()) closeQuietly(kept)
    },
  }
}

function countThreads(): number | null {
  const links = LINUX ? look('/proc/self/task')?.nlink : undefined
  return links === undefined ? null : links - 2
}

function countListeners(): number {
  let count = 0
  for (const name of eventNames()) count += listenerCount(name)
  return count
}
