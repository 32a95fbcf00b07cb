/** Which pages a process has written to since its fork, from its page table. */
import { describe, expect, test } from 'vitest'
import { openLibrary } from '../../src/process/native.ts'
import { HotPages } from '../../src/spawn/zygote/hot-pages.ts'
import { commonPages, pagesOf, rangesOf } from '../../src/spawn/zygote/pages.ts'
import { type ForkCalls, loadForkCalls } from '../../src/spawn/zygote/syscalls.ts'

const PAGE_BYTES = 4096

/** Without the types of the browser, which have it. */
const { Memory } = (
  globalThis as unknown as { WebAssembly: { Memory: new (of: { initial: number }) => { buffer: ArrayBuffer } } }
).WebAssembly

/** Pages of its writable memory that a process shares with nobody, by their numbers. */
const exclusivePages = (pid: number): number[] =>
  pagesOf(pid).written.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i))

const open = openLibrary()
const memset = 'missing' in open ? undefined : open.library.func('size_t memset(void *to, int byte, size_t bytes)')

/**
 * Memory that was never used before, as that of a buffer may have been, and is written to now. Where it is the C library says: what
 * else this process writes to meanwhile may be collected, and is then no longer its own.
 */
function writtenPages(count: number): { kept: Uint8Array; pages: number[] } {
  const bytes = count * PAGE_BYTES
  const kept = new Uint8Array(new Memory({ initial: Math.ceil(bytes / 2 ** 16) }).buffer)
  const first = Number(memset!(kept, 1, bytes)) / PAGE_BYTES
  return { kept, pages: Array.from({ length: count }, (_, i) => first + i) }
}

describe.runIf(process.platform === 'linux')('pages of this process', () => {
  test.skipIf(memset === undefined)('are found when they are written to', () => {
    const PAGES = 512
    const { kept, pages } = writtenPages(PAGES)
    const found = new Set<number>()
    // One that the kernel moves at that moment, to make room for large ones, is in no table.
    for (let look = 0; look < 5; look++) for (const page of exclusivePages(process.pid)) found.add(page)
    expect(pages.filter((page) => !found.has(page))).toEqual([])
    expect(kept.every((byte) => byte === 1)).toBe(true)
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
  // Each of the two reads here what is mapped: what V8 maps in between shifts all behind it. A child has its zygote's list.
  let last = tellTwice()
  for (let again = 0; again < 20 && last.told < PAGES; again++) last = tellTwice()
  const { common, own, told, first, second } = last
  expect(told).toBe(PAGES)
  // What the second one alone told of, and what neither did.
  expect(first).toBeLessThan(16)
  expect(second).toBeLessThan(16)
  expect([common, ...own].map(({ kept }) => kept.length)).toEqual(Array(3).fill(PAGES * PAGE_BYTES))
})
