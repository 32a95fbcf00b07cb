/** Descriptors of a forked child: it holds its own and those that Node itself needs, nothing of its zygote's. */
import { constants as fsConstants } from 'node:fs'
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync } from '../../process/clean.ts'
import type { OpenPath } from './protocol.ts'
import type { ForkCalls } from './syscalls.ts'

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
 * In a child, before it opens anything: closes what the zygote had open right before the fork, except what Node had opened
 * before its first module (`node`), and except kernel objects that libuv and V8 keep for themselves and that have no name.
 */
export function closeInherited(
  calls: ForkCalls,
  before: ReadonlyMap<number, string>,
  node: ReadonlyMap<number, string>,
  keep?: number,
): void {
  const kept = new Set(node.values())
  for (const [fd, target] of before) {
    // Those of handles are closed already, which is no error here.
    if (fd > 2 && fd !== keep && !target.startsWith('anon_inode:') && !kept.has(target)) calls.close(fd)
  }
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
