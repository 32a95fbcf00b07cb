/** Which pages a process has written to since its fork, from its page table. */
import { describe, expect, test } from 'vitest'
import { exclusivePages, rangesOf } from '../../src/spawn/zygote/hot-pages.ts'

const PAGE_BYTES = 4096

describe.runIf(process.platform === 'linux')('pages of this process', () => {
  test('are found when they are written to', () => {
    const before = new Set(exclusivePages(process.pid))
    const PAGES = 512
    const kept = Buffer.alloc(PAGES * PAGE_BYTES, 1)
    const more = exclusivePages(process.pid).filter((page) => !before.has(page))
    expect(kept.length).toBe(PAGES * PAGE_BYTES)
    expect(more.length).toBeGreaterThanOrEqual(PAGES - 1)
  })

  test('of a process that is not there are none', () => {
    expect(exclusivePages(2 ** 22 + 1)).toEqual([])
  })
})

test('neighbours, and those with one page between them, are one range', () => {
  expect(rangesOf([7, 8, 10, 13, 20])).toEqual([
    [7, 4],
    [13, 1],
    [20, 1],
  ])
  expect(rangesOf([])).toEqual([])
})
