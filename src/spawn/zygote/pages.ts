/** Pages of memory of a process, by its page tables (proc_pid_pagemap(5)): addresses are the same in all children of a zygote. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

/** First page and number of pages. */
export type PageRange = readonly [first: number, count: number]

/** Each in ascending order. */
export interface Pages {
  /** It writes to them: its own copies. */
  written: readonly PageRange[]
  /** Of files, mostly Node's own code. */
  read: readonly PageRange[]
}

export const PAGE_BYTES = 4096
/** Bits 56 and 63 of an entry of `/proc/<pid>/pagemap`, in its upper half. */
const EXCLUSIVE = 1 << 24
const PRESENT = 1 << 31
const ENTRY_BYTES = 8
/** Address space that is only reserved, which has no pages. */
const MOST_OF_A_MAPPING = 2 ** 18

/** @returns none where the kernel does not tell, and of a process that is gone */
export function pagesOf(pid: number | 'self', options: { files?: boolean } = {}): Pages {
  const mappings = mappingsOf(pid, options)
  const entries = new Uint8Array(entryBytes(mappings))
  return readEntries(pid, mappings, entries) ? pagesIn(entries, mappings) : { written: [], read: [] }
}

/** @returns those that both have: what one alone does is its own */
export function commonPages(a: Pages, b: Pages): Pages {
  return { written: commonRanges(a.written, b.written), read: commonRanges(a.read, b.read) }
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

export function countPages(ranges: readonly PageRange[]): number {
  return ranges.reduce((sum, [, count]) => sum + count, 0)
}

/** A stretch of a process's memory whose pages are of interest. */
export interface Mapping {
  first: number
  count: number
  /** Its own memory, or that of a file. */
  kind: keyof Pages
}

const WRITABLE = /^([0-9a-f]+)-([0-9a-f]+) rw.p/gm
const OF_FILES = /^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +\//gm
const WANTED: Record<keyof Pages, number> = { written: PRESENT | EXCLUSIVE, read: PRESENT }

/** @returns none of a process that is gone */
export function mappingsOf(pid: number | 'self', { files = false } = {}): Mapping[] {
  let maps: string
  try {
    maps = readFileSync(`/proc/${pid}/maps`, 'latin1')
  } catch {
    return []
  }
  const all = (pattern: RegExp, kind: keyof Pages): Mapping[] =>
    [...maps.matchAll(pattern)].map(([, from, to]) => {
      const first = Number.parseInt(from!, 16) / PAGE_BYTES
      return { first, count: Number.parseInt(to!, 16) / PAGE_BYTES - first, kind }
    })
  return [...all(WRITABLE, 'written'), ...(files ? all(OF_FILES, 'read') : [])].filter(
    ({ count }) => count <= MOST_OF_A_MAPPING,
  )
}

export const entryBytes = (mappings: readonly Mapping[]): number =>
  mappings.reduce((sum, { count }) => sum + count, 0) * ENTRY_BYTES

/**
 * Reads the page tables of these mappings, one behind the other, and makes nothing else: whoever looks at itself writes to pages by that.
 *
 * @returns false where the kernel does not tell
 */
export function readEntries(pid: number | 'self', mappings: readonly Mapping[], into: Uint8Array): boolean {
  let pagemap: number | undefined
  let at = 0
  try {
    pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
    for (const { first, count } of mappings) {
      const end = at + count * ENTRY_BYTES
      for (let from = at; from < end; ) {
        const bytes = readSync(pagemap, into, from, end - from, first * ENTRY_BYTES + from - at)
        // What an earlier child told there is none of this one's.
        if (bytes === 0) into.fill(0, from, end)
        from = bytes === 0 ? end : from + bytes
      }
      at = end
    }
    return true
  } catch {
    return false
  } finally {
    if (pagemap !== undefined) closeSync(pagemap)
  }
}

/** What {@link readEntries} has read. */
export function pagesIn(entries: Uint8Array, mappings: readonly Mapping[]): Pages {
  const found: Record<keyof Pages, number[]> = { written: [], read: [] }
  const bytes = Buffer.from(entries.buffer, entries.byteOffset, entries.length)
  let at = 0
  for (const { first, count, kind } of mappings) {
    const flags = WANTED[kind]
    const numbers = found[kind]
    for (let i = 0; i < count; i++, at += ENTRY_BYTES) {
      if ((bytes.readInt32LE(at + 4) & flags) === flags) numbers.push(first + i)
    }
  }
  return { written: rangesOf(found.written), read: rangesOf(found.read) }
}

/** Neighbours as one range. @param pages ascending */
export function rangesOf(pages: readonly number[]): PageRange[] {
  const ranges: [number, number][] = []
  for (const page of pages) {
    const last = ranges.at(-1)
    if (last && page === last[0] + last[1]) last[1]++
    else ranges.push([page, 1])
  }
  return ranges
}
