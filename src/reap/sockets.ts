/** Unix socket files with their creator in the name, so that a stale one can be told from one that is in use. */
import { lstatSync, type Stats } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { identify, isRunning, type ProcessIdentity } from '../process/identity.ts'
import { available, bootId } from '../process/procfs.ts'
import type { Swept } from './files.ts'
import { entriesOf, unlinkSame } from './same-file.ts'

const NAME = /^.+\.(\d+)\.(\d+)\.sock$/
const CONNECT_MS = 1000

/**
 * File name for a unix socket of this process: `<name>.<pid>.<start>.sock`. The whole path of a socket may have at most
 * 107 bytes on Linux and 103 on macOS.
 *
 * @param name what listens there
 */
export function socketName(name: string): string {
  return `${name}.${process.pid}.${identify(process.pid)?.start ?? 0}.sock`
}

/**
 * Removes the socket files of a folder whose creator is dead and where nobody answers. A name without a creator, another
 * user's file, and what is no socket are never touched.
 *
 * @param folder where to look; not below it
 * @param options.dryRun only say what would be removed
 * @param options.limitMs look at no further one after so long
 * @returns what was (or would be) removed, and those with a dead creator that were kept with the reason. Never throws.
 */
export async function sweepSockets(
  folder: string,
  options: { dryRun?: boolean; limitMs?: number } = {},
): Promise<Swept> {
  const swept: Swept = { removed: [], kept: [] }
  const until = Date.now() + (options.limitMs ?? Number.POSITIVE_INFINITY)
  for (const name of entriesOf(folder)) {
    if (Date.now() > until) break
    const creator = creatorOf(name)
    const path = join(folder, name)
    const stat = creator && socketStat(path)
    if (!creator || !stat || isRunning(creator)) continue
    const answer = await whoAnswers(path)
    if (answer === 'gone') continue
    if (answer !== 'nobody') swept.kept.push({ path, reason: answer })
    else if (options.dryRun || unlinkSame(path, stat, socketStat)) {
      swept.removed.push({ path, reason: `its creator, process ${creator.pid}, is gone and nobody listens` })
    } else swept.kept.push({ path, reason: 'it could not be removed' })
  }
  return swept
}

/** The boot is not in the name: a creator of an earlier boot is dead unless a process has its pid and start by chance. */
function creatorOf(name: string): ProcessIdentity | undefined {
  const [, pid, start] = NAME.exec(name) ?? []
  const boot = process.platform === 'linux' ? (available() ? bootId() : undefined) : 'epoch'
  if (pid === undefined || start === undefined || boot === undefined) return undefined
  return { bootId: boot, pid: Number(pid), start: Number(start) }
}

function socketStat(path: string): Stats | undefined {
  try {
    const stat = lstatSync(path)
    const ours = process.getuid === undefined || stat.uid === process.getuid()
    return stat.isSocket() && ours ? stat : undefined
  } catch {
    return undefined
  }
}

/** `nobody` only when the kernel says that nothing is bound there (ECONNREFUSED); everything else is a reason to keep it. */
function whoAnswers(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    const done = (answer: string): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(done, CONNECT_MS, 'whether somebody listens could not be found out in time')
    socket.once('connect', () => done('somebody else listens there'))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') done('nobody')
      else if (code === 'ENOENT') done('gone')
      else done(`whether somebody listens could not be found out (${code})`)
    })
  })
}
