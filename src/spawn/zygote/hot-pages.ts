/**
 * Pages that every child needs soon after its birth. A fork shares all memory until somebody writes, and each first write is a
 * fault of its own: 15 to 20 µs in the virtual machine where this was measured, a quarter of that for a page that is copied
 * ahead, by one system call for each range (MADV_POPULATE_WRITE, madvise(2), Linux 5.14). Pages of files are not in a child's
 * tables at all (MADV_POPULATE_READ). Which pages these are, the first children tell.
 */
import { setTimer } from '../../process/clean.ts'
import { commonPages, countPages, PAGE_BYTES, type PageRange, type Pages, pagesOf } from './pages.ts'
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
/** In memory that the zygote has in common with a child: how many ranges of each kind, plus 1 (0: not told yet); then these. */
const HEADER = 2
const MOST_RANGES = 8192

/** In a zygote: learns from its first children, and serves the later ones. */
export class HotPages {
  readonly #calls: ForkCalls
  readonly #telling: Telling
  readonly #mostWritten: number
  #hot: Pages | undefined
  #samples = 0
  #free: Float64Array[] | undefined
  /** Where the child that is forked next tells its pages, in the child: where it does. */
  #mine: Float64Array | undefined
  /** Children that are to tell, by pid. */
  readonly #tellers = new Map<number, Float64Array>()

  constructor(calls: ForkCalls, telling: Telling, mostWritten: number = MOST_WRITTEN) {
    this.#calls = calls
    this.#telling = telling
    this.#mostWritten = mostWritten
  }

  /** Right before a fork. @param tells the child leads the life that is to be learned */
  prepare(tells: boolean): void {
    this.#mine = undefined
    if (this.#samples === SAMPLES) return
    for (const [pid, told] of this.#tellers) if (told[0] !== 0) this.ended(pid)
    if (this.#samples === SAMPLES || !tells) return
    try {
      this.#free ??= Array.from({ length: SAMPLES }, () => this.#makeRoom())
    } catch {
      this.#free = []
    }
    this.#mine = this.#free[0]
    this.#mine?.fill(0, 0, HEADER)
  }

  #makeRoom(): Float64Array {
    return new Float64Array(this.#calls.shared(8 * (HEADER + 4 * MOST_RANGES)))
  }

  /** The child is there. @param isOurs it is not collected yet: the pid is its own */
  watch(pid: number, isOurs: () => boolean): void {
    if (!this.#mine) return
    this.#mine = undefined
    this.#tellers.set(pid, this.#free!.shift()!)
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
    this.#free!.push(told)
    const pages = readTold(told)
    if (pages) this.#learn(pages)
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
    const { written, read } = pagesOf(process.pid, this.#telling)
    if (written.length > MOST_RANGES || read.length > MOST_RANGES) return
    told.set([...written, ...read].flat(), HEADER)
    told.set([written.length + 1, read.length + 1])
  }
}

function readTold(told: Float64Array): Pages | undefined {
  if (told[0] === 0) return undefined
  const written = told[0]! - 1
  const read = told[1]! - 1
  const range = (_: unknown, i: number): PageRange => [told[HEADER + 2 * i]!, told[HEADER + 2 * i + 1]!]
  const ranges = Array.from({ length: written + read }, range)
  return { written: ranges.slice(0, written), read: ranges.slice(written) }
}
