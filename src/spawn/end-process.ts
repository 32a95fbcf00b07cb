/** The last rung for an actor that is a process, whichever backend made it. */
import { identify, isRunning, type ProcessIdentity, signalProcess } from '../process/identity.ts'
import { childrenOf } from '../process/procfs.ts'
import { descendantPids } from '../process/tree.ts'
import { endMembers } from '../reap/end.ts'
import { findMembers, type MemberQuery } from '../reap/members.ts'
import type { Exit, KillReport } from './backend.ts'

export interface ActorProcess {
  pid: number
  /** Undefined when it was gone before it could be looked at. */
  identity: ProcessIdentity | undefined
  /** For the report. */
  name: string
  /** Finds what belongs to it and does not descend from it. */
  query?: MemberQuery
  wait(signal: AbortSignal): Promise<Exit>
}

/** Ends it and everything below it by force, and waits at most `limitMs` for that. Never rejects. */
export async function endActorProcess(one: ActorProcess, limitMs: number): Promise<KillReport> {
  const { pid, identity, name, query } = one
  const ended: KillReport['ended'][number][] = []
  const left: KillReport['left'][number][] = []
  if (identity && (childrenOf(pid).length > 0 || hasOthers(pid, query))) {
    const result = await endMembers([identity], { politeMs: 0, verifyMs: limitMs, ...(query && { query }) })
    ended.push(...result.ended.filter((member) => member.pid !== pid))
    left.push(...result.left)
  } else if (identity) signalProcess(identity, 'SIGKILL')
  try {
    await one.wait(AbortSignal.timeout(limitMs))
    return { gone: true, ended, left }
  } catch {
    const running = identity !== undefined && isRunning(identity)
    if (running) left.push({ pid, command: name, reason: 'is still there after SIGKILL' })
    return { gone: !running, ended, left }
  }
}

function hasOthers(pid: number, query: MemberQuery | undefined): boolean {
  return query !== undefined && findMembers(query).members.some((member) => member.pid !== pid)
}

/** A process and everything below it, parents first. */
export function subtreeOf(pid: number): ProcessIdentity[] {
  return [pid, ...descendantPids(pid)].flatMap((one) => identify(one) ?? [])
}
