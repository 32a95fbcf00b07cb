/** Descriptors of a forked child: it holds its own and those that Node itself needs, nothing of its zygote's. */
import { closeSync, constants as fsConstants, fstatSync, openSync, readdirSync, readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import type { OpenPath } from './protocol.ts'

const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK } = fsConstants

/** What each descriptor of this process is, such as `pipe:[4711]`. */
export function descriptorTargets(): Map<number, string> {
  const found = new Map<number, string>()
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      found.set(Number(name), readlinkSync(`/proc/self/fd/${name}`))
    } catch {
      // That of the listing itself.
    }
  }
  return found
}

/**
 * Closes what the zygote had open: all that is in `before`, except what Node had opened before its first module (`node`),
 * and except kernel objects that libuv and V8 keep for themselves and that have no name.
 *
 * @returns how many were closed
 */
export function closeInherited(
  before: ReadonlyMap<number, string>,
  node: ReadonlyMap<number, string>,
  keep: ReadonlySet<number>,
): number {
  const theirs = new Set(before.values())
  const kept = new Set(node.values())
  let closed = 0
  for (const [fd, target] of descriptorTargets()) {
    if (keep.has(fd) || target.startsWith('anon_inode:') || kept.has(target) || !theirs.has(target)) continue
    try {
      closeSync(fd)
      closed++
    } catch (error) {
      if ((error as NodeJS.ErrnoException).errno !== -constants.errno.EBADF) throw error
    }
  }
  return closed
}

/** It is no longer what was meant: whoever ordered the child has given it up. */
export class StaleOrder extends Error {}

/**
 * Opens a way out for writing, at its end.
 *
 * @throws StaleOrder when the pipe that it names is another one by now, or nobody reads it
 */
export function openOut({ path, inode }: OpenPath): number {
  let fd: number
  try {
    // A pipe without a reader would keep us waiting here.
    const more = inode === undefined ? O_CREAT : 0
    fd = openSync(path, O_WRONLY | O_APPEND | O_NONBLOCK | more, 0o600)
  } catch (error) {
    if (inode !== undefined) throw new StaleOrder(`${path}: ${(error as Error).message}`)
    throw error
  }
  if (inode !== undefined && fstatSync(fd).ino !== inode) {
    closeSync(fd)
    throw new StaleOrder(`${path} is another pipe by now`)
  }
  return fd
}
