import { explainProcess } from '../inspect/kernel-wait.ts'
import { monotonic, pause } from '../process/clean.ts'
import { processWords } from '../process/descriptors.ts'
import { identityKey, isRunning, type ProcessIdentity, sameProcess, signalProcess } from '../process/identity.ts'
import { readStat, readText } from '../process/procfs.ts'
import { commandOf } from '../process/tree.ts'
import { findMembers, type Member, type MemberQuery, type Spared } from './members.ts'

export interface EndOptions {
  /** Time between SIGTERM and force, milliseconds; 0 leaves SIGTERM out. Default 100. */
  politeMs?: number
  /** Time to wait for the processes to be gone after SIGKILL, milliseconds. Default 2000. */
  verifyMs?: number
  /**
   * Where else to look for members that are born while we work: tag, lease and registry of the session. Without it only
   * descendants of the given processes are looked for, and a child whose parent dies between two looks can be missed.
   */
  query?: MemberQuery
}

/** A process that is gone; `signal` is the last one that it was sent. */
export interface EndedProcess {
  pid: number
  command: string
  signal: 'SIGTERM' | 'SIGKILL'
  /** Said of a process that was not asked politely: `a debugger (12 \`gdb\`) was attached`. */
  note?: string
}

export interface EndResult {
  ended: EndedProcess[]
  /** Those that still run, and those that were refused; the reason is a sentence without its subject. */
  left: Spared[]
  /** Those that were dead before and that their parent has not waited for; absent when there are none. */
  zombies?: Spared[]
}

const MOST_FREEZE_PASSES = 50
const MOST_ROUNDS = 20
/** Looks that find nobody new before all are taken to be frozen, see {@link lookAgain}. */
const QUIET_PASSES = 2

/**
 * Ends processes and all their descendants: SIGTERM (and SIGCONT, since a stopped process keeps SIGTERM pending) parents
 * first, a bounded wait, then SIGSTOP to all until nobody new turns up, SIGKILL, and a look whether they are gone. A process
 * that a debugger is attached to is not asked politely, since the signal would only stop it there.
 *
 * The identity of each process is compared right before each signal; what {@link findMembers} refuses is never signalled. A
 * zombie counts as gone. Never throws for a process that resists: it comes back in `left`. Takes at most about
 * `politeMs` + `verifyMs`, plus the time for some hundred looks at the process table, and that only against a set that goes on
 * forking.
 *
 * @throws UsageError for a bad tag in `query`
 */
export async function endMembers(ids: Iterable<ProcessIdentity>, options: EndOptions = {}): Promise<EndResult> {
  const { politeMs = 100, verifyMs = 2000, query } = options
  const roster = new Roster(ids, query)

  let running = roster.look()
  if (politeMs > 0 && running.length > 0) {
    const polite = running.filter((member) => !roster.isTraced(member))
    for (const member of polite) roster.send(member, 'SIGTERM')
    for (const member of polite) signalProcess(member, 'SIGCONT')
    // Known ones are asked after; the table, which costs more, is read when they are gone or the time is over.
    await untilGone(() => roster.running(), politeMs)
    running = await lookAgain(roster)
  }
  const deadline = monotonic() + verifyMs
  for (let round = 0; round < MOST_ROUNDS && running.length > 0; round++) {
    for (const member of await freeze(roster)) roster.send(member, 'SIGKILL')
    running = await untilGone(() => roster.running(), deadline - monotonic())
    if (running.length > 0) break
    running = await lookAgain(roster)
  }
  return roster.result()
}

/**
 * The same for an `exit` handler, where nothing can be waited for: no SIGTERM, SIGSTOP to the given processes and their
 * descendants until a look finds nobody new, then SIGKILL, at most 20 times. `left` holds those that were refused and those
 * that could not be signalled.
 */
export function endMembersSync(ids: Iterable<ProcessIdentity>, query?: MemberQuery): EndResult {
  const roster = new Roster(ids, query)
  const killed = new Set<string>()
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const fresh = new Map<string, Member>()
    for (let pass = 0; pass < MOST_FREEZE_PASSES; pass++) {
      const found = roster.look().filter((member) => ![killed, fresh].some((set) => set.has(identityKey(member))))
      if (found.length === 0) break
      for (const member of found) {
        fresh.set(identityKey(member), member)
        signalProcess(member, 'SIGSTOP')
      }
    }
    if (fresh.size === 0) break
    for (const [key, member] of fresh) {
      roster.send(member, 'SIGKILL')
      killed.add(key)
    }
  }
  return roster.result('signalled')
}

const EMPTY_LOOKS = 3

/**
 * One look that finds nobody does not prove that nobody is there: of a relay, in which each process starts the next one and
 * ends, the one may be gone and the other not yet listed when the table is read.
 */
async function lookAgain(roster: Roster): Promise<Member[]> {
  for (let look = 0; look < EMPTY_LOOKS; look++) {
    const running = roster.look()
    if (running.length > 0) return running
    await pause(2)
  }
  return []
}

/** Everybody who was ever seen as a member: once known, a process is followed even when its parent and its tag are gone. */
class Roster {
  readonly #query: MemberQuery | undefined
  readonly #given: ProcessIdentity[]
  readonly #seen = new Map<string, Member>()
  readonly #sent = new Map<string, EndedProcess['signal']>()
  readonly #spared = new Map<number, Spared>()
  readonly #notes = new Map<string, string>()
  readonly #zombies: ProcessIdentity[]

  constructor(ids: Iterable<ProcessIdentity>, query: MemberQuery | undefined) {
    this.#given = [...ids, ...(query?.also ?? [])]
    this.#query = query
    this.#zombies = this.#given.filter((id) => sameProcess(id) && !isRunning(id))
  }

  /** Looks at the process table anew; answers with the members that run, each parent before its children. */
  look(): Member[] {
    const also = [...this.#given, ...this.#seen.values()]
    const { members, spared } = findMembers({ ...this.#query, also }, this.#seen)
    for (const member of members) if (!this.#seen.has(identityKey(member))) this.#seen.set(identityKey(member), member)
    for (const one of spared) this.#spared.set(one.pid, one)
    return members
  }

  /** Those already known that still run; cheaper than {@link look}. */
  running(): Member[] {
    return [...this.#seen.values()].filter(isRunning)
  }

  send(member: Member, signal: EndedProcess['signal']): void {
    if (signalProcess(member, signal)) this.#sent.set(identityKey(member), signal)
  }

  /** Is somebody attached who is none of ours? Remembered, for the report. */
  isTraced(member: Member): boolean {
    const tracer = Number(/^TracerPid:\t(\d+)/m.exec(readText(`/proc/${member.pid}/status`) ?? '')?.[1] ?? 0)
    if (tracer === 0 || [...this.#seen.values()].some((one) => one.pid === tracer)) return false
    this.#notes.set(identityKey(member), `a debugger (${processWords(tracer)}) was attached`)
    return true
  }

  result(goneWhen: 'gone' | 'signalled' = 'gone'): EndResult {
    const ended: EndedProcess[] = []
    const left = [...this.#spared.values()]
    for (const [key, member] of this.#seen) {
      const signal = this.#sent.get(key)
      const gone = !isRunning(member) || (goneWhen === 'signalled' && signal === 'SIGKILL')
      if (gone) {
        const note = this.#notes.get(key)
        if (signal) ended.push({ pid: member.pid, command: member.command, signal, ...(note && { note }) })
        continue
      }
      const how = goneWhen === 'gone' ? explainProcess(member.pid)[0] : undefined
      left.push({ pid: member.pid, command: member.command, reason: `still runs${how ? `: ${how}` : ''}` })
    }
    const zombies = this.#zombies.filter((id) => sameProcess(id)).map(describeZombie)
    return { ended, left, ...(zombies.length > 0 && { zombies }) }
  }
}

function describeZombie({ pid }: ProcessIdentity): Spared {
  const parent = readStat(pid)?.ppid ?? 0
  const reason = `is dead, but its parent ${processWords(parent)} does not wait for it`
  return { pid, command: commandOf(pid), reason }
}

/** Stops all members, again and again until a look finds nobody new and all have really stopped. */
async function freeze(roster: Roster): Promise<Member[]> {
  const frozen = new Map<string, Member>()
  let quiet = 0
  for (let pass = 0; pass < MOST_FREEZE_PASSES; pass++) {
    let fresh = 0
    for (const member of roster.look()) {
      if (frozen.has(identityKey(member))) continue
      frozen.set(identityKey(member), member)
      signalProcess(member, 'SIGSTOP')
      fresh++
    }
    // A fork that began before the signal arrived can still bring a child, so all must have stopped, not only been told.
    quiet = fresh === 0 && ![...frozen.values()].some(canFork) ? quiet + 1 : 0
    if (quiet === QUIET_PASSES) break
    await pause(1)
  }
  return [...frozen.values()]
}

function canFork(member: Member): boolean {
  const stat = readStat(member.pid)
  return stat?.start === member.start && (stat.state === 'R' || stat.state === 'S')
}

/** Asks again, with growing pauses, until nobody is left or the time is over. */
async function untilGone(ask: () => Member[], limitMs: number): Promise<Member[]> {
  const deadline = monotonic() + limitMs
  let step = 2
  for (;;) {
    const running = ask()
    const rest = deadline - monotonic()
    if (running.length === 0 || rest <= 0) return running
    await pause(Math.min(step, rest))
    step = Math.min(step * 2, 50)
  }
}
