import { UsageError } from '../errors.ts'
import { identify, identityKey, isDead, isRunning, type ProcessIdentity, sameProcess } from '../process/identity.ts'
import { LOWEST_LEASE_FD } from '../process/native.ts'
import {
  available,
  bootId,
  linkTarget,
  listDirectory,
  PF_KTHREAD,
  type ProcessStat,
  readEnvironTag,
  readOwner,
  readStat,
  readTable,
} from '../process/procfs.ts'
import { commandOf } from '../process/tree.ts'

/** What makes a process a member; at least one of `tag`, `lease` and `also`. */
export interface MemberQuery {
  /**
   * Environment variable that our processes were started with; the whole value must match. `below`: a value that goes on
   * with a dot counts too, `7.3.1` for the tag `7.3`.
   */
  tag?: { name: string; value: string; below?: true }
  /**
   * Id of the session whose lease (a descriptor that every child inherits, see `Native.makeLease`) makes a member. A
   * process that is marked with another session is none by that: it belongs to a run inside ours, which looks after it.
   */
  lease?: string
  /** Number that the lease has in our processes, where it is looked for first. */
  leaseFd?: number
  /** Nothing that started before this belongs to us: a process, or ticks of 10 ms since boot. */
  since?: ProcessIdentity | number
  /** Processes that are known to be ours. */
  also?: Iterable<ProcessIdentity>
  /** Sidecars of sessions: they end by themselves when there is nothing left to do, and are never touched. */
  spare?: Iterable<ProcessIdentity>
}

/** A process that is ours, with the reason why. */
export interface Member extends ProcessIdentity {
  /** Steps below the first member of its branch: 0 for that one. */
  depth: number
  /** `is known`, `carries the tag`, `holds the lease`, `child of 12`, `in the session of 12`, `in the process group of 12`. */
  why: string
  /** Command line, shortened to 120 characters. */
  command: string
}

/** A process that would be a member, but must not be touched. */
export interface Spared {
  pid: number
  command: string
  reason: string
}

export interface MemberSearch {
  /** Each parent before its children; zombies are left out, they are dead. */
  members: Member[]
  spared: Spared[]
}

/** A process started with this variable is a deliberate daemon: it is listed, never ended. */
export const KEEP = { name: 'HARROW_SESSION', value: 'keep' } as const

/** Variable that names the session of a process. */
const SESSION = KEEP.name

/**
 * Finds the processes that carry a tag, hold a lease or are known, everything that descends from them, and everything in
 * the sessions and process groups (of the kernel) that one of them leads.
 *
 * Never a member, whatever else speaks for it: pid 1, this process and its ancestors, sidecars, kernel threads, processes
 * of another user, processes older than `since`, and those marked with {@link KEEP}; descent does not lead through them
 * either. A process whose environment and descriptors cannot be read is not found by them. 2 to 7 ms with 100 processes;
 * off Linux only `also` is looked at.
 *
 * @param admitted members that were found a moment ago, by their keys: they are not examined anew
 * @throws UsageError for a tag that could match by accident (empty name or value, `=` in the name)
 */
export function findMembers(query: MemberQuery, admitted: ReadonlyMap<string, Member> = new Map()): MemberSearch {
  checkTag(query.tag)
  const known = [...(query.also ?? [])]
  return available() ? searchTable(query, known, admitted) : searchKnown(known, query.spare ?? [])
}

/**
 * Why a process must not be signalled, in words that follow its name; undefined when it may be.
 *
 * @param id the process
 * @param since ticks of 10 ms since boot, see {@link MemberQuery.since}
 * @param protectedPids this process and its ancestors; looked up when absent
 * @param sidecars keys of the sidecars of sessions, see {@link MemberQuery.spare}
 */
export function refusal(
  id: ProcessIdentity,
  since = 0,
  protectedPids = selfAndAncestors(),
  sidecars: ReadonlySet<string> = new Set(),
): string | undefined {
  if (id.pid <= 1) return 'is the first process of the system'
  if (protectedPids.has(id.pid)) return 'is this process or one of its ancestors'
  if (sidecars.has(identityKey(id))) return 'is the sidecar of a session'
  if (!available()) return undefined
  const stat = readStat(id.pid)
  const owner = readOwner(id.pid)
  if (!stat || !owner) return 'could not be looked at'
  if (owner.tgid !== id.pid) return 'is a thread, not a process'
  if ((stat.flags & PF_KTHREAD) !== 0) return 'is a kernel thread'
  if (stat.start < since) return 'started before the session'
  if (owner.uid !== process.getuid?.() || owner.effectiveUid !== process.geteuid?.()) return 'belongs to another user'
  if (readEnvironTag(id.pid, KEEP.name) === KEEP.value) return `is marked ${KEEP.name}=${KEEP.value}`
  return undefined
}

/** Pids of this process and of all its ancestors. */
export function selfAndAncestors(parentOf = (pid: number): number | undefined => readStat(pid)?.ppid): Set<number> {
  const found = new Set([process.pid, process.ppid])
  let pid = parentOf(process.pid)
  // Bounded, since a table read while processes come and go can hold a cycle.
  for (let step = 0; step < 1000 && pid !== undefined && pid > 0; step++) {
    found.add(pid)
    pid = parentOf(pid)
  }
  return found
}

function checkTag(tag: MemberQuery['tag']): void {
  if (!tag) return
  if (tag.name && tag.value && !/[=\0]/.test(tag.name) && !tag.value.includes('\0') && tag.value !== KEEP.value) return
  throw new UsageError(
    `expected a tag with a name and a value that only our processes have, got ${JSON.stringify(tag)}; use a random id`,
  )
}

function searchTable(
  query: MemberQuery,
  known: ProcessIdentity[],
  admitted: ReadonlyMap<string, Member>,
): MemberSearch {
  const boot = bootId()
  const since = typeof query.since === 'number' ? query.since : (query.since?.start ?? 0)
  const otherBoot = typeof query.since === 'object' && query.since.bootId !== boot
  if (boot === undefined || otherBoot) return { members: [], spared: [] }

  const table = readTable()
  const protectedPids = selfAndAncestors((pid) => table.get(pid)?.ppid)
  const sidecars = new Set([...(query.spare ?? [])].map(identityKey))
  const members = new Map<number, Member>()
  const spared = new Map<number, Spared>()

  const admit = (stat: ProcessStat, why: string): boolean => {
    if (members.has(stat.pid) || spared.has(stat.pid) || isDead(stat)) return false
    const id = { bootId: boot, pid: stat.pid, start: stat.start }
    const before = admitted.get(identityKey(id))
    if (before) {
      members.set(stat.pid, before)
      return true
    }
    const reason = refusal(id, since, protectedPids, sidecars)
    const command = commandOf(stat.pid, 120, stat)
    // All that was read since the table was made is about this process only if its pid was not reused meanwhile.
    if (!sameProcess(id)) return false
    if (reason) {
      spared.set(stat.pid, { pid: stat.pid, command, reason })
      return false
    }
    members.set(stat.pid, { ...id, depth: 0, why, command })
    return true
  }

  const knownKeys = new Set(known.map(identityKey))
  const roots: ProcessStat[] = []
  for (const stat of table.values()) {
    if (knownKeys.has(identityKey({ bootId: boot, pid: stat.pid, start: stat.start }))) {
      // A known zombie is no member, but the kernel keeps its pid for the session that it leads.
      if (isDead(stat) || admit(stat, 'is known')) roots.push(stat)
    } else if (stat.start >= since && !protectedPids.has(stat.pid) && !isDead(stat)) {
      const why = proofOf(stat.pid, query)
      if (why && admit(stat, why)) roots.push(stat)
    }
  }
  closeOverKin(table, roots, admit)
  return { members: inTreeOrder(table, members), spared: [...spared.values()] }
}

/** The proof that a process carries itself, in words. */
function proofOf(pid: number, { tag, lease, leaseFd }: MemberQuery): string | undefined {
  const value = tag && readEnvironTag(pid, tag.name)
  if (tag && value && (value === tag.value || (tag.below && value.startsWith(`${tag.value}.`))))
    return 'carries the tag'
  if (lease === undefined || !holdsLease(pid, lease, leaseFd)) return undefined
  const session = readEnvironTag(pid, SESSION)
  return !session || session === lease || session === KEEP.value ? 'holds the lease' : undefined
}

function holdsLease(pid: number, lease: string, leaseFd: number | undefined): boolean {
  const target = `/memfd:harrow-${lease} (deleted)`
  if (leaseFd !== undefined && linkTarget(`/proc/${pid}/fd/${leaseFd}`) === target) return true
  const names = listDirectory(`/proc/${pid}/fd`) ?? []
  return names.some((name) => Number(name) >= LOWEST_LEASE_FD && linkTarget(`/proc/${pid}/fd/${name}`) === target)
}

/** Admits what descends from the roots, and what is in a session or process group that one of them leads. */
function closeOverKin(
  table: Map<number, ProcessStat>,
  roots: ProcessStat[],
  admit: (stat: ProcessStat, why: string) => boolean,
): void {
  const children = groupBy(table.values(), (stat) => stat.ppid)
  const sessions = groupBy(table.values(), (stat) => stat.session)
  const groups = groupBy(table.values(), (stat) => stat.pgrp)
  const queue = [...roots]
  for (let one = queue.pop(); one; one = queue.pop()) {
    const { pid, start } = one
    const kin: [ProcessStat[] | undefined, string][] = [
      [children.get(pid), `child of ${pid}`],
      [one.session === pid ? sessions.get(pid) : [], `in the session of ${pid}`],
      [one.pgrp === pid ? groups.get(pid) : [], `in the process group of ${pid}`],
    ]
    for (const [stats = [], why] of kin) {
      for (const stat of stats) {
        // Older than the one it is said to come from: the pid was reused between two reads.
        if (stat.pid !== pid && stat.start >= start && admit(stat, why)) queue.push(stat)
      }
    }
  }
}

/** Each member after its parent, with the depth counted anew: a tagged child of a tagged parent is not a root. */
function inTreeOrder(table: Map<number, ProcessStat>, members: Map<number, Member>): Member[] {
  const kept = [...members.keys()].flatMap((pid) => table.get(pid) ?? [])
  const byParent = groupBy(kept, (stat) => stat.ppid)
  const ordered: Member[] = []
  const visit = (pid: number, depth: number): void => {
    const member = members.get(pid)
    if (!member) return
    members.delete(pid)
    ordered.push({ ...member, depth })
    for (const child of byParent.get(pid) ?? []) visit(child.pid, depth + 1)
  }
  for (const pid of [...members.keys()]) {
    if (!members.has(table.get(pid)?.ppid ?? 0)) visit(pid, 0)
  }
  for (const pid of [...members.keys()]) visit(pid, 0)
  return ordered
}

function groupBy(stats: Iterable<ProcessStat>, keyOf: (stat: ProcessStat) => number): Map<number, ProcessStat[]> {
  const groups = new Map<number, ProcessStat[]>()
  for (const stat of stats) {
    const group = groups.get(keyOf(stat))
    if (group) group.push(stat)
    else groups.set(keyOf(stat), [stat])
  }
  return groups
}

function searchKnown(known: ProcessIdentity[], spare: Iterable<ProcessIdentity>): MemberSearch {
  const members: Member[] = []
  const spared: Spared[] = []
  const protectedPids = selfAndAncestors()
  const sidecars = new Set([...spare].map(identityKey))
  for (const id of known) {
    if (!isRunning(id)) continue
    const reason = refusal(id, 0, protectedPids, sidecars)
    if (reason) spared.push({ pid: id.pid, command: '?', reason })
    else members.push({ ...id, depth: 0, why: 'is known', command: '?' })
  }
  return { members, spared }
}

/** Identities of those pids that exist now. */
export function identifyAll(pids: Iterable<number>): ProcessIdentity[] {
  return [...pids].flatMap((pid) => identify(pid) ?? [])
}
