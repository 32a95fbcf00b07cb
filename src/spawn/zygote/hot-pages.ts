/**
 * Pages that every child writes to soon after its birth. A fork shares all memory until somebody writes, and each first write
 * is a fault of its own: 15 to 20 µs in the virtual machine where this was measured, a quarter of that for a page that is
 * copied ahead, by one system call for each range (MADV_POPULATE_WRITE, madvise(2), Linux 5.14). Which pages these are is
 * learned from the page tables of the first children.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import type { ForkCalls } from './syscalls.ts'

/** First page and number of pages. */
export type PageRange = readonly [first: number, count: number]

const PAGE_BYTES = 4096
/** Bits 56 and 63 of an entry of `/proc/<pid>/pagemap`, in its upper half. */
const EXCLUSIVE = 1 << 24
const PRESENT = 1 << 31
const ENTRY_BYTES = 8
const CHUNK_ENTRIES = 8192
/** Address space that is only reserved, which has no pages. */
const MOST_OF_A_MAPPING = 2 ** 18
/** Two pages that are no further apart are of one range: a system call costs more than the page between them. */
const GAP = 1
/** Copying more than this ahead would keep a child from its work: 16 MiB. */
const MOST_PAGES = 4096
/** From a fork until its child has done what all children do. */
const LOOK_AFTER_MS = 150
/** A page counts that so many children in a row have written to: what one alone does is its own. */
const SAMPLES = 2

/** In a zygote: learns from its first children, and serves the later ones. */
export class HotPages {
  readonly #calls: ForkCalls
  #ranges: readonly PageRange[] = []
  #common: ReadonlySet<number> | undefined
  #samples = 0
  /** The child of the last sample. */
  #last: number | undefined
  /** How many pages, and which: a child that ends before it was looked at tells it here. */
  #told: Float64Array | undefined
  /** The child that is to tell. */
  #teller: number | undefined

  constructor(calls: ForkCalls) {
    this.#calls = calls
  }

  get #isLearning(): boolean {
    return this.#samples < SAMPLES
  }

  /** Right before a fork. */
  prepare(): void {
    if (!this.#isLearning || this.#told) return
    try {
      this.#told = new Float64Array(this.#calls.shared(8 * (1 + MOST_PAGES)))
    } catch {
      // Learning goes on with those that live long enough.
    }
  }

  /** A child is there: its pages are looked at in a while, when that is still of use. */
  watch(pid: number, isOurs: () => boolean): void {
    if (!this.#isLearning) return
    if (this.#told && this.#teller === undefined) {
      this.#teller = pid
      this.#told[0] = 0
    }
    setTimeout(() => {
      if (isOurs()) this.#learn(pid, exclusivePages(pid))
    }, LOOK_AFTER_MS).unref()
  }

  /** A child has ended and is collected. */
  ended(pid: number): void {
    if (pid !== this.#teller || !this.#told) return
    this.#teller = undefined
    const count = this.#told[0]!
    this.#learn(pid, [...this.#told.subarray(1, 1 + count)])
  }

  #learn(pid: number, pages: readonly number[]): void {
    if (!this.#isLearning || pid === this.#last || pages.length === 0 || pages.length > MOST_PAGES) return
    const before = this.#common
    const common = before ? pages.filter((page) => before.has(page)) : pages
    this.#common = new Set(common)
    this.#last = pid
    if (++this.#samples === SAMPLES) this.#ranges = rangesOf(common)
  }

  /** In a child, first of all. Without effect where the kernel does not know how. */
  copyAhead(): void {
    for (const [first, count] of this.#ranges) {
      if (!this.#calls.copyNow(first * PAGE_BYTES, count * PAGE_BYTES)) return
    }
  }

  /** In a child, last of all. */
  tell(): void {
    if (!this.#isLearning || !this.#told || this.#teller !== undefined) return
    const pages = exclusivePages(process.pid)
    if (pages.length >= this.#told.length) return
    this.#told.set([pages.length, ...pages])
  }
}

/**
 * Pages of its writable memory that a process shares with nobody, by their numbers, ascending.
 *
 * @returns none where the kernel does not tell
 */
export function exclusivePages(pid: number): number[] {
  return pagesOf(pid, /^([0-9a-f]+)-([0-9a-f]+) rw.p/gm, PRESENT | EXCLUSIVE)
}

/** Pages of files that a process has in its tables, by their numbers, ascending: Node's own code, mostly. */
export function filePages(pid: number): number[] {
  return pagesOf(pid, /^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +\//gm, PRESENT)
}

function pagesOf(pid: number, mapping: RegExp, flags: number): number[] {
  const found: number[] = []
  let pagemap: number | undefined
  try {
    const maps = readFileSync(`/proc/${pid}/maps`, 'latin1')
    pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
    for (const [, from, to] of maps.matchAll(mapping)) {
      const first = Number.parseInt(from!, 16) / PAGE_BYTES
      const count = Number.parseInt(to!, 16) / PAGE_BYTES - first
      if (count <= MOST_OF_A_MAPPING) findPages(pagemap, first, count, flags, found)
    }
  } catch {
    // It has ended, or may not be looked at.
  } finally {
    if (pagemap !== undefined) closeSync(pagemap)
  }
  return found
}

function findPages(pagemap: number, first: number, count: number, flags: number, found: number[]): void {
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
    if (last && page - (last[0] + last[1]) <= GAP) last[1] = page - last[0] + 1
    else ranges.push([page, 1])
  }
  return ranges
}
