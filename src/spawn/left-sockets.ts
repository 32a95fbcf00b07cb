/** Socket files of processes that could not remove them: their names end in pid and start, see `socketPath`. */
import { readdirSync, unlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { identify, isRunning, type ProcessIdentity } from '../process/identity.ts'
import { existingRuntimeDir } from '../process/runtime-dir.ts'

const CREATOR = /\.(\d+)\.(\d+)\.sock$/

/** Of a process that has ended. Never throws. */
export function removeSockets({ pid, start }: ProcessIdentity): void {
  try {
    const folder = existingRuntimeDir()
    if (folder === undefined) return
    for (const name of readdirSync(folder)) {
      const [, of, at] = CREATOR.exec(name) ?? []
      if (Number(of) === pid && Number(at) === start) unlinkSync(join(folder, name))
    }
  } catch {
    // Gone already, or another user's; the sweep of `harrow reap` looks again.
  }
}

/** The sockets of whoever has made this one, if that process is dead, which it may be only in a moment. Never throws. */
export function removeSocketsOfDead(path: string): void {
  const [, pid, start] = CREATOR.exec(basename(path)) ?? []
  const own = identify(process.pid)
  if (pid === undefined || !own || dirname(path) !== existingRuntimeDir()) return
  const creator = { ...own, pid: Number(pid), start: Number(start) }
  if (!isRunning(creator)) removeSockets(creator)
}
