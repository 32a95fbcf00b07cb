/**
 * Pages of memory that workers use. A fork shares all pages with its zygote and gets a copy of one at its first write, by a
 * page fault, and those of files are not in its tables at all; a worker has two thousand such faults, at some 20 to 50 µs. The
 * kernel does many at once for a third of that (madvise(2) with MADV_POPULATE_READ and _WRITE, Linux 5.14). Which ones, workers
 * that have run a file tell: the addresses are the same in all children of a zygote.
 */
import { openLibrary } from '../../../src/process/native.ts'
import { exclusivePages, filePages, type PageRange, rangesOf } from '../../../src/spawn/zygote/hot-pages.ts'

export interface Pages {
  /** It writes to them. */
  written: readonly PageRange[]
  /** Of files, mostly Node's own code. */
  read: readonly PageRange[]
}

const PAGE = 4096
const MADV_POPULATE_READ = 22
const MADV_POPULATE_WRITE = 23
/** What is copied needlessly costs time and memory: 32 MiB. */
const MOST_WRITTEN = 8192

/** Of this process; none where the kernel does not tell. */
export function ownPages(): Pages {
  return { written: rangesOf(exclusivePages(process.pid)), read: rangesOf(filePages(process.pid)) }
}

/** @returns those that both have: what one alone does is its own */
export function commonPages(a: Pages, b: Pages): Pages {
  const written = commonRanges(a.written, b.written)
  const total = written.reduce((sum, [, count]) => sum + count, 0)
  return { written: total > MOST_WRITTEN ? [] : written, read: commonRanges(a.read, b.read) }
}

function commonRanges(a: readonly PageRange[], b: readonly PageRange[]): PageRange[] {
  const found: PageRange[] = []
  let at = 0
  for (const [first, count] of a) {
    while (at < b.length && endOf(b[at]!) <= first) at++
    for (let i = at; i < b.length && b[i]![0] < first + count; i++) {
      const from = Math.max(first, b[i]![0])
      found.push([from, Math.min(first + count, endOf(b[i]!)) - from])
    }
  }
  return found
}

const endOf = ([first, count]: PageRange): number => first + count

/** Binds the call. @returns undefined without koffi */
export function loadCopy(): ((pages: Pages) => void) | undefined {
  const open = openLibrary()
  if ('missing' in open) return undefined
  const madvise = open.library.func('int madvise(size_t address, size_t length, int advice)')
  const each = (ranges: readonly PageRange[], advice: number): void => {
    for (let i = 0; i < ranges.length; i++) {
      const [first, count] = ranges[i]!
      // A kernel that cannot do it refuses the first; what is no longer there is refused, too.
      if (madvise(first * PAGE, count * PAGE, advice) !== 0 && i === 0) return
    }
  }
  return ({ written, read }) => {
    each(read, MADV_POPULATE_READ)
    each(written, MADV_POPULATE_WRITE)
  }
}
