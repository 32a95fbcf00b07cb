/** The descendants of this process, as repeated looks show them, and the dead ones among them that nobody waits for. */
import type { ChildProcess } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { monotonic } from '../process/clean.ts'
import { isDead, isRunning, type ProcessIdentity } from '../process/identity.ts'
import type { Native } from '../process/native.ts'
import { available, bootId, childrenOf, childrenOfThread, readStat, threadsOf } from '../process/procfs.ts'

interface Known extends ProcessIdentity {
  /** Seen with another parent than this process: so Node has not started it, and does not wait for it. */
  elsewhere: boolean
  /** When it was first seen dead and not collected, on the monotonic clock. */
  deadSince?: number
}

/** Node collects its own children at once; a dead one that is still there after this time has nobody who waits. */
const NOBODY_WAITS_MS = 2000
const MOST_DESCENDANTS = 4096
const CHANNEL = 'child_process'

export class Kin {
  readonly #native: Pick<Native, 'collect'> | undefined
  readonly #ownChildren: ReadonlySet<number>
  readonly #known = new Map<number, Known>()
  /** Children that were there before: started by somebody who may wait for them. */
  readonly #before: ReadonlySet<number>
  /** Children that Node starts from now on, in this thread. */
  #started: WeakRef<ChildProcess>[] = []

  /**
   * @param native for collecting adopted children that are dead; without it they stay until this process ends
   * @param ownChildren pids that Node waits for beside those that it is seen to start; never collected
   */
  constructor(native: Pick<Native, 'collect'> | undefined, ownChildren: ReadonlySet<number>) {
    this.#native = native
    this.#ownChildren = ownChildren
    this.#before = new Set(available() ? childrenOf(process.pid) : [])
    subscribe(CHANNEL, this.#onSpawn)
  }

  /** Remembers a process; false when it was known. */
  add(id: ProcessIdentity): boolean {
    if (this.#known.get(id.pid)?.start === id.start) return false
    this.#known.set(id.pid, { ...id, elsewhere: false })
    return true
  }

  /** All that were seen and may still live. */
  known(): ProcessIdentity[] {
    return [...this.#known.values()].map(({ bootId, pid, start }) => ({ bootId, pid, start }))
  }

  /**
   * Walks down from this process. About 0.1 ms plus 0.05 ms per descendant.
   *
   * @param except descendants that are not to be followed
   * @returns those that are new, and whether any is there that a later look could tell more about
   */
  look(except: ReadonlySet<number>): { fresh: ProcessIdentity[]; busy: boolean } {
    const boot = available() ? bootId() : undefined
    if (boot === undefined) return { fresh: [], busy: false }
    const fresh: ProcessIdentity[] = []
    const seen = new Set<number>()
    const queue = this.#children()
    for (let next = queue.pop(); next && seen.size < MOST_DESCENDANTS; next = queue.pop()) {
      const { pid, adoptable } = next
      if (seen.has(pid) || except.has(pid)) continue
      const stat = readStat(pid)
      if (!stat) continue
      seen.add(pid)
      const dead = isDead(stat)
      const id = { bootId: boot, pid, start: stat.start }
      if (this.add(id) && !dead) fresh.push(id)
      const known = this.#known.get(pid)!
      if (stat.ppid !== process.pid) known.elsewhere = true
      if (!dead) queue.push(...childrenOf(pid).map((child) => ({ pid: child, adoptable: false })))
      else if (stat.ppid === process.pid) this.#collect(known, adoptable)
    }
    this.#forget(seen)
    return { fresh, busy: seen.size > 0 }
  }

  close(): void {
    unsubscribe(CHANNEL, this.#onSpawn)
  }

  /**
   * Children of this process. The kernel hands adopted ones to the main thread; those of other threads were started by
   * them, and their event loop waits.
   */
  #children(): { pid: number; adoptable: boolean }[] {
    const tids = threadsOf(process.pid)
    const found = tids.flatMap((tid) =>
      childrenOfThread(process.pid, tid).map((pid) => ({ pid, adoptable: tid === process.pid })),
    )
    if (found.length > 0) return found
    return childrenOf(process.pid).map((pid) => ({ pid, adoptable: false }))
  }

  /** Collects a dead child if nobody else can be waiting for it: its exit would be lost for them. */
  #collect(child: Known, adoptable: boolean): void {
    const now = monotonic()
    child.deadSince ??= now
    if (!this.#native || this.#ownChildren.has(child.pid)) return
    const strays = adoptable && now - child.deadSince >= NOBODY_WAITS_MS && !this.isNodes(child.pid)
    if ((child.elsewhere || strays) && this.#native.collect(child.pid)) this.#known.delete(child.pid)
  }

  /** Was it started by Node in this thread, or there before this began to look? Then somebody here waits for it. */
  isNodes(pid: number): boolean {
    return this.#before.has(pid) || this.#started.some((ref) => ref.deref()?.pid === pid)
  }

  #forget(seen: ReadonlySet<number>): void {
    for (const [pid, id] of this.#known) {
      // Not below us any more does not mean gone: without adoption orphans go to the first process.
      if (!seen.has(pid) && !isRunning(id)) this.#known.delete(pid)
    }
  }

  // The process is announced before it has a pid.
  readonly #onSpawn = (message: unknown): void => {
    const child = (message as { process?: ChildProcess }).process
    this.#started = this.#started.filter((ref) => isAwaited(ref.deref()))
    if (child) this.#started.push(new WeakRef(child))
  }
}

/** Has the child not been collected yet? True also for one that is about to be started. */
function isAwaited(child: ChildProcess | undefined): boolean {
  return child !== undefined && child.exitCode === null && child.signalCode === null
}
