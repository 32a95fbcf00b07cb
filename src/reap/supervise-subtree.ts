/**
 * What lives below this process, found by descent alone. While this process is a child subreaper (or the first process of
 * a pid namespace) nothing can leave its subtree, so descent is a complete proof: the mark in the environment, the lease and
 * the owner of a process do not matter.
 */
import { explainProcess } from '../inspect/kernel-wait.ts'
import { monotonic, pause } from '../process/clean.ts'
import { identityKey, isRunning, type ProcessIdentity, signalProcess } from '../process/identity.ts'
import {
  bootId,
  childrenOf,
  type ProcessStat,
  readEnvironTag,
  readOwner,
  readStat,
  TICKS_PER_SECOND,
  uptimeMs,
} from '../process/procfs.ts'
import { commandOf } from '../process/tree.ts'
import type { EndedProcess } from './end.ts'
import { KEEP, type Spared } from './members.ts'

/** A process that was ended below a supervisor. */
export interface EndedBelow extends EndedProcess {
  /** How long it had lived when it got its first signal, milliseconds; null when that could not be told. */
  ageMs: number | null
}

/** What became of everything below a supervisor. */
export interface EndBelowResult {
  ended: EndedBelow[]
  /** Those that still run; the reason is a sentence without its subject. */
  left: Spared[]
  /** Deliberate daemons (`HARROW_SESSION=keep`), which were left alone. */
  kept: Spared[]
}

export interface SubtreeOptions {
  /** Is this neither ours to end nor to collect, e.g. the sidecar? Descent does not lead through it. */
  untouched(id: ProcessIdentity): boolean
  /** Takes the exit status of a dead child that no one else waits for; false when it could not. */
  collect(pid: number): boolean
}

export interface EndBelowOptions {
  /** Time between SIGTERM and force, milliseconds; 0 leaves SIGTERM out. */
  graceMs: number
  /** Time for freezing, SIGKILL and verification together, milliseconds. Default 5000. */
  forceMs?: number
  /** Ends the grace at once. */
  hurry?: AbortSignal
}

/** Something that ends by itself a moment after the command is not worth a signal. */
const SETTLE_MS = 50
const MOST_FREEZE_PASSES = 200

interface Seen extends ProcessIdentity {
  command: string
  ageMs: number | null
  signal: EndedProcess['signal'] | null
}

export class Subtree {
  readonly #options: SubtreeOptions
  readonly #boot = bootId() ?? ''
  readonly #seen = new Map<string, Seen>()
  readonly #kept = new Map<string, Spared>()

  constructor(options: SubtreeOptions) {
    this.#options = options
  }

  /** Collects dead children that were adopted from below. @returns how many */
  collectDead(): number {
    let collected = 0
    for (const pid of childrenOf(process.pid)) {
      const stat = readStat(pid)
      if (stat?.state !== 'Z' || this.#options.untouched(this.#identityOf(stat))) continue
      if (this.#options.collect(pid)) collected++
    }
    return collected
  }

  /**
   * SIGTERM and SIGCONT, the grace, SIGSTOP until a look finds nobody new, SIGKILL, collection of the dead, and again until
   * nobody is left or the time is over.
   */
  async end({ graceMs, forceMs = 5000, hurry }: EndBelowOptions): Promise<EndBelowResult> {
    let running = await this.#untilGone(SETTLE_MS, hurry)
    if (running && graceMs > 0) {
      for (const one of running) this.#send(one, 'SIGTERM')
      for (const one of running) signalProcess(one, 'SIGCONT')
      running = await this.#untilGone(graceMs, hurry)
    }
    const deadline = monotonic() + forceMs
    while (running && monotonic() < deadline) {
      for (const one of this.#freeze()) this.#send(one, 'SIGKILL')
      running = await this.#untilGone(Math.min(100, deadline - monotonic()))
      if (running && running.length > 0 && running.every(belongsToAnother)) break
    }
    this.collectDead()
    return this.#result(running ?? [])
  }

  /** Stops everybody, so that nobody is born between the last look and SIGKILL. */
  #freeze(): Seen[] {
    const frozen = new Map<string, Seen>()
    for (let pass = 0; pass < MOST_FREEZE_PASSES; pass++) {
      const before = frozen.size
      // Each is stopped before its children are read: of a process that stands still they are all there.
      this.#walk((one) => {
        if (frozen.has(identityKey(one))) return
        frozen.set(identityKey(one), one)
        signalProcess(one, 'SIGSTOP')
      })
      if (frozen.size === before) break
    }
    return [...frozen.values()]
  }

  #send(one: Seen, signal: EndedProcess['signal']): void {
    if (one.signal === null) {
      // Between fork and exec a process still shows the command of its parent: the latest look is the best.
      one.command = commandOf(one.pid)
      one.ageMs = ageOf(one)
    }
    if (signalProcess(one, signal)) one.signal = signal
  }

  /** Waits until nobody is left, or the time (milliseconds) is over. @returns whether nobody is */
  async untilGone(limitMs: number): Promise<boolean> {
    return (await this.#untilGone(limitMs)) === undefined
  }

  /** @returns undefined when it is certain that nobody is left, else those that were seen */
  async #untilGone(limitMs: number, hurry?: AbortSignal): Promise<Seen[] | undefined> {
    const deadline = monotonic() + limitMs
    let step = 2
    for (;;) {
      this.collectDead()
      const running = this.#walk()
      if (running.length === 0 && this.#isEmpty()) return undefined
      const rest = deadline - monotonic()
      if (rest <= 0 || hurry?.aborted) return running
      await pause(Math.min(step, rest))
      step = Math.min(step * 2, 25)
    }
  }

  /**
   * Is it certain that nobody is below us? A walk that finds nobody is no proof: a process can end, and its child come to
   * us, just after we read who our children are. But whoever lives below us has one of our children above it, dead
   * children have none any more, and no child leaves the list before we collect it.
   */
  #isEmpty(): boolean {
    const children = childrenOf(process.pid)
    for (const pid of children) {
      const stat = readStat(pid)
      if (stat && stat.state !== 'Z' && stat.state !== 'X' && !this.#isSpared(stat)) return false
    }
    return childrenOf(process.pid).every((pid) => children.includes(pid))
  }

  /** All that run now, parents first; `visit` is called with each before its children are read. */
  #walk(visit?: (one: Seen) => void): Seen[] {
    const found: Seen[] = []
    const visited = new Set([process.pid])
    const queue = [process.pid]
    for (let parent = queue.shift(); parent !== undefined; parent = queue.shift()) {
      for (const pid of childrenOf(parent)) {
        if (visited.has(pid)) continue
        visited.add(pid)
        const stat = readStat(pid)
        if (!stat || stat.state === 'Z' || stat.state === 'X' || this.#isSpared(stat)) continue
        const one = this.#remember(stat)
        visit?.(one)
        found.push(one)
        queue.push(pid)
      }
    }
    return found
  }

  #remember(stat: ProcessStat): Seen {
    const id = this.#identityOf(stat)
    const key = identityKey(id)
    let seen = this.#seen.get(key)
    if (seen === undefined) {
      seen = { ...id, command: stat.comm, ageMs: null, signal: null }
      this.#seen.set(key, seen)
    }
    return seen
  }

  #isSpared(stat: ProcessStat): boolean {
    const id = this.#identityOf(stat)
    if (this.#options.untouched(id)) return true
    const key = identityKey(id)
    if (this.#kept.has(key)) return true
    if (readEnvironTag(stat.pid, KEEP.name) !== KEEP.value) return false
    const reason = `is marked ${KEEP.name}=${KEEP.value}`
    this.#kept.set(key, { pid: stat.pid, command: commandOf(stat.pid), reason })
    this.#seen.delete(key)
    return true
  }

  #identityOf({ pid, start }: ProcessStat): ProcessIdentity {
    return { bootId: this.#boot, pid, start }
  }

  #result(running: Seen[]): EndBelowResult {
    const kept = [...this.#kept.values()].filter((one) => isAlive(one.pid))
    const left: Spared[] = []
    for (const one of running) {
      if (!isRunning(one)) continue
      const how = belongsToAnother(one) ? 'it belongs to another user' : explainProcess(one.pid)[0]
      left.push({ pid: one.pid, command: commandOf(one.pid), reason: `still runs${how ? `: ${how}` : ''}` })
    }
    const remaining = new Set(left.map(({ pid }) => pid))
    const ended = [...this.#seen.values()].flatMap(({ pid, command, signal, ageMs }) =>
      signal === null || remaining.has(pid) ? [] : [{ pid, command, signal, ageMs }],
    )
    return { ended, left, kept }
  }
}

/** A process that we may not signal, e.g. one below sudo. */
function belongsToAnother(id: ProcessIdentity): boolean {
  const self = process.geteuid?.()
  const owner = readOwner(id.pid)
  return self !== 0 && owner !== undefined && owner.uid !== self
}

function isAlive(pid: number): boolean {
  const state = readStat(pid)?.state
  return state !== undefined && state !== 'Z' && state !== 'X'
}

/** How long a process has lived, milliseconds, exact to 10 ms. */
export function ageOf(id: ProcessIdentity): number | null {
  const now = uptimeMs()
  return now === undefined ? null : Math.max(0, Math.round(now - (id.start * 1000) / TICKS_PER_SECOND))
}
