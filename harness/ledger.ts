/** Which test started which process: by mark, by identity, by descent. One per run, in the main process. */
import { createRequire } from 'node:module'
import { identify, identityKey, isRunning, type ProcessIdentity } from '../src/process/identity.ts'
import { readEnvironTag, readStat, TICKS_PER_SECOND, uptimeMs } from '../src/process/procfs.ts'
import type { Member } from '../src/reap/members.ts'
import type { Patient } from './pool/patient.ts'
import { MEMBER_ENV, type SpawnReport } from './protocol.ts'

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
const require = createRequire(import.meta.url)

/** Loaded when there is something to look for; synchronous for the exit handler. */
export const loadMembers = () => require(`../src/reap/members${extension}`) as typeof import('../src/reap/members.ts')

/** Starts and ages in /proc are ticks of 10 ms. */
const TICK_SLACK_MS = 30

/** One start of a process that is known. */
export interface Start extends SpawnReport {
  patient: Patient
  id: ProcessIdentity | undefined
  keep: 'file' | 'run' | null
}

/** A process that is still there, and the start that led to it. */
export interface Left {
  member: Member
  start: Start | undefined
}

export class Ledger {
  /** By mark: `<run>.<worker>.<ordinal>`. */
  readonly #starts = new Map<string, Start>()
  /** Start by identity of its process. */
  readonly #byProcess = new Map<string, Start>()
  /** Parent at first sight: a double fork cuts the link later. */
  readonly #parents = new Map<string, string>()

  add(patient: Patient, report: SpawnReport): ProcessIdentity | undefined {
    const id = report.pid === null ? undefined : identify(report.pid)
    const start: Start = { ...report, patient, id, keep: null }
    this.#starts.set(`${patient.tag}.${report.ordinal}`, start)
    if (id) this.#byProcess.set(identityKey(id), start)
    return id
  }

  keep(pid: number, until: 'file' | 'run'): void {
    const id = identify(pid)
    const start = id && this.#byProcess.get(identityKey(id))
    if (start) start.keep = until
  }

  /** Processes that were seen for the first time. */
  seen(found: readonly ProcessIdentity[]): void {
    for (const id of found) {
      const parent = identify(readStat(id.pid)?.ppid ?? 0)
      if (parent && !this.#parents.has(identityKey(id))) this.#parents.set(identityKey(id), identityKey(parent))
    }
  }

  hasStarted(patient: Patient): boolean {
    for (const start of this.#starts.values()) if (start.patient === patient) return true
    return false
  }

  /** Identities of all that was started and may live. */
  started(patient?: Patient): ProcessIdentity[] {
    return [...this.#byProcess.values()]
      .filter((start) => patient === undefined || start.patient === patient)
      .map((start) => start.id)
      .filter((id) => id !== undefined)
  }

  /** What goes back to a worker and still runs; never the worker itself. */
  below(patient: Patient, also: readonly ProcessIdentity[] = []): Left[] {
    const { members } = loadMembers().findMembers({
      tag: { name: MEMBER_ENV, value: patient.tag, below: true },
      // Those without a mark are known by the ledger and by the samples.
      also: [...also, ...this.started(patient), ...this.#adopted(patient)],
    })
    return members
      .filter((member) => member.pid !== patient.pid)
      .map((member) => ({ member, start: this.startOf(member) }))
      .filter(({ start }) => start === undefined || start.patient === patient)
  }

  /**
   * The start that a process goes back to, by its mark, its ancestors, or its birth within a synchronous call of the worker
   * that it comes from.
   */
  startOf(member: ProcessIdentity): Start | undefined {
    const mark = readEnvironTag(member.pid, MEMBER_ENV)
    const marked = mark ? this.#starts.get(mark) : undefined
    if (marked) return marked
    const ancestors = new Set<number>()
    let key: string | undefined = identityKey(member)
    for (let step = 0; key !== undefined && step < 100; step++) {
      const known = this.#byProcess.get(key)
      if (known) return known
      const { pid } = fromKey(key)
      if (step > 0) ancestors.add(pid)
      const parent: ProcessIdentity | undefined = step === 0 ? identify(readStat(pid)?.ppid ?? 0) : undefined
      key = this.#parents.get(key) ?? (parent && parent.pid > 1 ? identityKey(parent) : undefined)
    }
    const born = bornAt(member)
    if (born === undefined) return undefined
    const during = [...this.#starts.values()].filter(({ pid, patient, from, to }) => {
      if (pid !== null || born < from - TICK_SLACK_MS || born > to + TICK_SLACK_MS) return false
      // Other workers, and what they start, are born at the same time as well.
      return mark === patient.tag || (patient.process !== undefined && ancestors.has(patient.pid))
    })
    return during.length === 1 ? during[0] : undefined
  }

  /** Processes that samples have seen below a start of this worker, whatever their parent is now. */
  #adopted(patient: Patient): ProcessIdentity[] {
    return [...this.#parents.keys()].map(fromKey).filter((id) => isRunning(id) && this.startOf(id)?.patient === patient)
  }

  /** A run in watch mode has no end: what is gone is not remembered. */
  forget(patient: Patient): void {
    for (const [mark, { patient: owner, id, keep }] of this.#starts) {
      if (owner !== patient || (keep === 'run' && id && isRunning(id))) continue
      this.#starts.delete(mark)
      if (id) this.#byProcess.delete(identityKey(id))
    }
    for (const key of this.#parents.keys()) if (!isRunning(fromKey(key))) this.#parents.delete(key)
  }
}

/** One finding per tree: a forgotten shell and what it runs are one. */
export function trees(left: readonly Left[]): { root: Left; below: number }[] {
  const found: { root: Left; below: number }[] = []
  for (const one of left) {
    // Members come parents first; the depth is counted from the first of each tree.
    const tree = found.at(-1)
    if (one.member.depth > 0 && tree && one.start === tree.root.start) tree.below++
    else found.push({ root: one, below: 0 })
  }
  return found
}

/** Milliseconds since the start of a process; null when that is not known. */
export function ageOf(id: ProcessIdentity): number | null {
  const uptime = uptimeMs()
  return uptime === undefined ? null : Math.max(0, Math.round(uptime - (id.start * 1000) / TICKS_PER_SECOND))
}

function fromKey(key: string): ProcessIdentity {
  const [bootId = '', pid, start] = key.split('/')
  return { bootId, pid: Number(pid), start: Number(start) }
}

/** When a process began, milliseconds since the epoch; undefined when that is not known. */
export function bornAt(id: ProcessIdentity): number | undefined {
  const age = ageOf(id)
  return age === null ? undefined : performance.timeOrigin + performance.now() - age
}
