/**
 * V8 maps its memory in chunks of 256 KiB at random addresses of 46 bits. Each of them has page tables of its own then, two or
 * three pages that each fork makes, fills, and takes down at the end of the child: more than the memory itself costs. Where the
 * address that V8 asks for is taken, the kernel chooses one next to what is there.
 */
import { readFileSync } from 'node:fs'
import { openLibrary } from '../../process/native.ts'

/** Below it lies the program with its heap, which grows upwards. */
const FROM = 2 ** 32
/** `GetRandomMmapAddr` of V8 (src/base/platform/platform-posix.cc) stays below. */
const TO = 2 ** 46
/** PROT_NONE takes no memory; MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE, MAP_FIXED_NOREPLACE. */
const NO_ACCESS = 0
const FLAGS = 0x2 | 0x20 | 0x4000 | 0x100000

/**
 * Takes the addresses that V8 asks for. Without effect where that is not allowed, as under a limit of address space.
 */
export function keepTogether(): void {
  const open = openLibrary()
  if ('missing' in open) return
  const mmap = open.library.func(
    'size_t mmap(size_t address, size_t length, int access, int flags, int fd, long offset)',
  )
  let at = FROM
  const take = (end: number): void => {
    if (end > at) mmap(at, end - at, NO_ACCESS, FLAGS, -1, 0)
  }
  for (const [, from, to] of readFileSync('/proc/self/maps', 'latin1').matchAll(/^([0-9a-f]+)-([0-9a-f]+) /gm)) {
    const end = Number.parseInt(to!, 16)
    if (end <= FROM) continue
    const start = Number.parseInt(from!, 16)
    if (start >= TO) break
    take(start)
    at = end
  }
  take(TO)
}
