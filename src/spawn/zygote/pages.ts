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
const CHUNK_ENTRIES = 8192
/** Address space that is only reserved, which has no pages. */
const MOST_OF_A_MAPPING = 2 ** 18

/** @returns none where the kernel does not tell, and of a process that is gone */
export function pagesOf(pid: number, { files = false } = {}): Pages {
  return { written: rangesOf(exclusivePages(pid)), read: files ? rangesOf(filePages(pid)) : [] }
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

/** Pages of its writable memory that a process shares with nobody, by their numbers, ascending. */
export function exclusivePages(pid: number): number[] {
  return findPages(pid, /^([0-9a-f]+)-([0-9a-f]+) rw.p/gm, PRESENT | EXCLUSIVE)
}

/** Pages of files that a process has in its tables, by their numbers, ascending. */
function filePages(pid: number): number[] {
  return findPages(pid, /^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +\//gm, PRESENT)
}

function findPages(pid: number, mapping: RegExp, flags: number): number[] {
  const found: number[] = []
  let pagemap: number | undefined
  try {
    const maps = readFileSync(`/proc/${pid}/maps`, 'latin1')
    pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
    for (const [, from, to] of maps.matchAll(mapping)) {
      const first = Number.parseInt(from!, 16) / PAGE_BYTES
      const count = Number.parseInt(to!, 16) / PAGE_BYTES - first
      if (count <= MOST_OF_A_MAPPING) lookInto(pagemap, first, count, flags, found)
    }
  } catch {
    // It has ended, or may not be looked at.
  } finally {
    if (pagemap !== undefined) closeSync(pagemap)
  }
  return found
}

function lookInto(pagemap: number, first: number, count: number, flags: number, found: number[]): void {
  const bytes = Buffer.allocUnsafe(Math.min(count, CHUNK_ENTRIES) * ENTRY_BYTES)
  for (let at = 0; at < count; ) {
    const wanted = Math.min(CHUNK_ENTRIES, count - at) * ENTRY_BYTES
    const entries = Math.floor(readSync(pagemap, bytes, 0, wanted, (first + at) * ENTRY_BYTES) / ENTRY_BYTES)
    if (entries === 0) return
    for (let i = 0; i < entries; i++) {
      const upper = bytes.readInt32LE(i * ENTRY_BYTES + 4)
      if ((upper & flags) === flags) found.push(first + at + i)
    }
    at += entries
  }
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
