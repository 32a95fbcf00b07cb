/**
 * Pages that every child needs soon after its birth. A fork shares all memory until somebody writes, and each first write is a
 * fault of its own: 15 to 20 µs in the virtual machine where this was measured, a quarter of that for a page that is copied
 * ahead, by one system call for each range (MADV_POPULATE_WRITE, madvise(2), Linux 5.14). Pages of files are not in a child's
 * tables at all (MADV_POPULATE_READ). Which pages these are, the first children tell.
 */
import { setTimer } from '../../process/clean.ts'
import {
  commonPages,
  countPages,
  entryBytes,
  type Mapping,
  mappingsOf,
  PAGE_BYTES,
  type Pages,
  pagesIn,
  pagesOf,
  readEntries,
} from './pages.ts'
import type { ForkCalls } from './syscalls.ts'

/** When a life has done what all children do. */
export interface Telling {
  /** So many milliseconds after the fork, unless it has ended before; `itself`: it calls {@link HotPages.tell}. */
  after: number | 'itself'
  /** Pages of files too: for those that run much of Node's code. */
  files: boolean
}

/** What is copied needlessly costs time and memory: 32 MiB. */
const MOST_WRITTEN = 8192
/** A page counts that so many children have: what one alone does is its own. */
const SAMPLES = 2
/** Before the entries: 1 when they are there. */
const HEADER_BYTES = 8

/**
 * Where a child tells its pages: its page tables as they are, in memory that the zygote has in common with it. To make ranges of them takes
 * half as many pages as the whole life of a worker, and they would count as its own.
 */
interface Told {
  room: Uint8Array
  mappings: readonly Mapping[]
}

/** In a zygote: learns from its first children, and serves the later ones. */
export class HotPages {
  readonly #calls: ForkCalls
  readonly #telling: Telling
  readonly #mostWritten: number
  #hot: Pages | undefined
  #samples = 0
  #free: Uint8Array[] | undefined
  /** Where the child that is forked next tells its pages, in the child: where it does. */
  #mine: Told | undefined
  /** Children that are to tell, by pid. */
  readonly #tellers = new Map<number, Told>()

  constructor(calls: ForkCalls, telling: Telling, mostWritten: number = MOST_WRITTEN) {
    this.#calls = calls
    this.#telling = telling
    this.#mostWritten = mostWritten
  }

  /** Right before a fork. @param tells the child leads the life that is to be learned */
  prepare(tells: boolean): void {
    this.#mine = undefined
    if (this.#samples === SAMPLES) return
    for (const [pid, { room }] of this.#tellers) if (room[0] !== 0) this.ended(pid)
    if (this.#samples === SAMPLES || !tells) return
    const mappings = mappingsOf('self', this.#telling)
    const bytes = HEADER_BYTES + entryBytes(mappings)
    try {
      // Twice as much, for the zygote may have grown when the second one is forked.
      this.#free ??= Array.from({ length: SAMPLES }, () => new Uint8Array(this.#calls.shared(2 * bytes)))
    } catch {
      this.#free = []
    }
    const room = this.#free[0]
    if (!room || room.length < bytes) return
    room[0] = 0
    this.#mine = { room, mappings }
  }

  /** The child is there. @param isOurs it is not collected yet: the pid is its own */
  watch(pid: number, isOurs: () => boolean): void {
    const told = this.#mine
    if (!told) return
    this.#mine = undefined
    this.#free!.shift()
    this.#tellers.set(pid, told)
    const { after, files } = this.#telling
    if (after === 'itself') return
    setTimer(() => {
      // It may tell later: nobody else does so in that place.
      if (isOurs() && this.#tellers.delete(pid)) this.#learn(pagesOf(pid, { files }))
    }, after).unref()
  }

  /** A child has ended and is collected. */
  ended(pid: number): void {
    const told = this.#tellers.get(pid)
    if (!told) return
    this.#tellers.delete(pid)
    const { room, mappings } = told
    if (room[0] !== 0) this.#learn(pagesIn(room.subarray(HEADER_BYTES), mappings))
    this.#free!.push(room)
  }

  #learn(pages: Pages): void {
    if (this.#samples === SAMPLES || pages.written.length === 0) return
    this.#hot = this.#hot ? commonPages(this.#hot, pages) : pages
    if (++this.#samples < SAMPLES) return
    if (countPages(this.#hot.written) > this.#mostWritten) this.#hot = { ...this.#hot, written: [] }
  }

  /** In a child, first of all. Without effect where the kernel does not know how. */
  fetchAhead(): void {
    if (!this.#hot || this.#samples < SAMPLES) return
    // What is no longer there is refused, and a kernel that cannot do it refuses fast.
    for (const [first, count] of this.#hot.read) this.#calls.mapNow(first * PAGE_BYTES, count * PAGE_BYTES)
    for (const [first, count] of this.#hot.written) this.#calls.copyNow(first * PAGE_BYTES, count * PAGE_BYTES)
  }

  /** In a child: it is one of those that tell, and has not done so yet. */
  get isToTell(): boolean {
    return this.#mine !== undefined
  }

  /** In a child that has done what all do; a second time, and in others, without effect. */
  tell(): void {
    const told = this.#mine
    this.#mine = undefined
    if (!told) return
    const { room, mappings } = told
    if (readEntries('self', mappings, room.subarray(HEADER_BYTES))) room[0] = 1
  }
}
