/** The pipe by which the thread of a forked worker is woken; see {@link file://./wake.ts}. */
import { closeSync, fstatSync, writeSync } from 'node:fs'
import type { OpenPath } from '../../../src/spawn/zygote/protocol.ts'
import type { ForkCalls } from '../../../src/spawn/zygote/syscalls.ts'

export interface WakePipe {
  in: OpenPath
  /** @returns false when nobody is there to be woken */
  wake(): boolean
  close(): void
}

/** @throws Error when there are no descriptors left */
export function makeWakePipe(calls: ForkCalls): WakePipe {
  const ends = calls.pipe()
  if (!ends) throw new Error(`no pipe can be made: ${calls.lastError()}`)
  let open = true
  return {
    // Both ends stay open here: the child opens its own after it has said that it lives.
    in: { path: `/proc/${process.pid}/fd/${ends.read}`, inode: fstatSync(ends.read).ino },
    wake() {
      try {
        return open && writeSync(ends.write, '!') === 1
      } catch {
        return false
      }
    },
    close() {
      if (!open) return
      open = false
      closeSync(ends.read)
      closeSync(ends.write)
    },
  }
}
