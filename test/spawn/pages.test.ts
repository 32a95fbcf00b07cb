/** Which pages a process has written to since its fork, from its page table. */
import { describe, expect, test } from 'vitest'
import { HotPages } from '../../src/spawn/zygote/hot-pages.ts'
import { commonPages, type PageRange, pagesOf, rangesOf } from '../../src/spawn/zygote/pages.ts'
import { type ForkCalls, loadForkCalls } from '../../src/spawn/zygote/syscalls.ts'

const PAGE_BYTES = 4096

/** Without the types of the browser, which have it. */
const { Memory } = (
  globalThis as unknown as { WebAssembly: { Memory: new (of: { initial: number }) => { buffer: ArrayBuffer } } }
).WebAssembly

/** Pages of its writable memory that a process shares with nobody, by their numbers. */
const exclusivePages = (pid: number): number[] =>
  pagesOf(pid).written.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i))

/** So often is looked for pages: one that the kernel moves at that moment, to make room for large ones, is in no table. */
const LOOKS = 20

/** Pages that were never used before, as those of a buffer may have been: one stretch of them, as they were found in some look. */
function writtenPages(count: number): { kept: Uint8Array; pages: number[] } {
  const { buffer } = new Memory({ initial: Math.ceil((count * PAGE_BYTES) / 2 ** 16) })
  const before = new Set(exclusivePages(process.pid))
  const kept = new Uint8Array(buffer).fill(1)
  const seen = new Set<number>()
  let longest: PageRange = [0, 0]
  for (let look = 0; look < LOOKS && longest[1] < count; look++) {
    for (const page of exclusivePages(process.pid)) if (!before.has(page)) seen.add(page)
    for (const range of rangesOf([...seen].sort((a, b) => a - b))) if (range[1] > longest[1]) longest = range
  }
  return { kept, pages: Array.from({ length: longest[1] }, (_, i) => longest[0] + i) }
}

describe.runIf(process.platform === 'linux')('pages of this process', () => {
  test('are found when they are written to', () => {
    const PAGES = 512
    const { kept, pages } = writtenPages(PAGES)
    expect(kept.length).toBe(PAGES * PAGE_BYTES)
    expect(pages.length).toBeGreaterThanOrEqual(PAGES)
  })

  test('of a process that is not there are none', () => {
    expect(exclusivePages(2 ** 23 + 1)).toEqual([])
  })
})

test('neighbours are one range', () => {
  expect(rangesOf([7, 8, 10, 11, 12, 20])).toEqual([
    [7, 2],
    [10, 3],
    [20, 1],
  ])
  expect(rangesOf([])).toEqual([])
})

test('of ranges that cover each other in part, what both have is left', () => {
  const common = commonPages(
    {
      written: [
        [0, 10],
        [20, 5],
        [30, 1],
      ],
      read: [[1, 1]],
    },
    {
      written: [
        [5, 18],
        [24, 7],
      ],
      read: [],
    },
  )
  expect(common).toEqual({
    written: [
      [5, 5],
      [20, 3],
      [24, 1],
      [30, 1],
    ],
    read: [],
  })
})

const calls = loadForkCalls()

test.skipIf('missing' in calls)('what two children told is fetched ahead in later ones, as far as both told it', () => {
  // A child shares the memory in which it tells; here this process plays both.
  let room: ArrayBuffer | undefined
  const copied = new Set<number>()
  const play = (): HotPages => {
    const played = {
      ...(calls as ForkCalls),
      shared(bytes: number) {
        room ??= new ArrayBuffer(bytes)
        return room
      },
      copyNow(address: number, bytes: number) {
        for (let at = address; at < address + bytes; at += PAGE_BYTES) copied.add(at / PAGE_BYTES)
        return true
      },
      mapNow: () => true,
    }
    return new HotPages(played, { after: 'itself', files: true }, Infinity)
  }
  const PAGES = 256
  const tellTwice = () => {
    room = undefined
    copied.clear()
    const zygote = play()
    const child = play()
    const common = writtenPages(PAGES)
    const own: (typeof common)[] = []
    for (const pid of [1, 2]) {
      zygote.prepare(true)
      child.prepare(true)
      zygote.watch(pid, () => true)
      expect(child.isToTell).toBe(true)
      child.tell()
      own.push(writtenPages(PAGES))
      zygote.fetchAhead()
      expect(copied.size).toBe(0)
      zygote.ended(pid)
    }
    zygote.fetchAhead()
    const [told = 0, first, second] = [common, ...own].map(
      ({ pages }) => pages.filter((page) => copied.has(page)).length,
    )
    return { common, own, told, first, second }
  }
  const { common, own, told, first, second } = tellTwice()
  // Each child looks once: what was being moved then is not told.
  expect(common.pages.length).toBeGreaterThanOrEqual(PAGES)
  expect(told).toBeGreaterThan(0.9 * PAGES)
  // What the second one alone told of, and what neither did.
  expect(first).toBeLessThan(16)
  expect(second).toBeLessThan(16)
  expect([common, ...own].map(({ kept }) => kept.length)).toEqual(Array(3).fill(PAGES * PAGE_BYTES))
})
