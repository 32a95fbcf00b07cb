/**
 * The processes of a run, seen from the main process: who started which, what outlives its test, its file or the run, and
 * the end of it. One per run.
 */
import { createRequire } from 'node:module'
import type { OrphanEntry } from '../src/dump/run-record.ts'
import { identify, identityKey, isRunning, type ProcessIdentity } from '../src/process/identity.ts'
import { childrenOf, readEnvironTag, readStat, TICKS_PER_SECOND, uptimeMs } from '../src/process/procfs.ts'
import type { Member } from '../src/reap/members.ts'
import { Session } from '../src/reap/session.ts'
import { noteStart, type StartNote } from '../src/reap/starts.ts'
import { describeStrength } from '../src/reap/strength.ts'
import { taskById, titles } from './compat.ts'
import type { Patient } from './pool/patient.ts'
import {
  type Failure,
  MEMBER_ENV,
  type ReapedProcess,
  type ReapScope,
  SESSION_ENV,
  type SpawnReport,
} from './protocol.ts'
import type { Run } from './run.ts'

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
const require = createRequire(import.meta.url)

/** Loaded when there is something to look for or to end; synchronous for the exit handler. */
const loadMembers = () => require(`../src/reap/members${extension}`) as typeof import('../src/reap/members.ts')
const loadEnd = () => require(`../src/reap/end${extension}`) as typeof import('../src/reap/end.ts')

/** Between a polite signal and the next rung of the ladder. */
const POLITE_MS = 500
/** Starts and ages in /proc are ticks of 10 ms. */
const TICK_SLACK_MS = 30

/** One start of a process that is known. */
interface Start extends SpawnReport {
  patient: Patient
  id: ProcessIdentity | undefined
  keep: 'file' | 'run' | null
}

/** A process that was ended because what had started it was over. */
export interface Orphan {
  /** Task ids of the tests that were running when it was started. */
  tests: string[]
  entry: OrphanEntry
  failure: Failure
  reaped: ReapedProcess
}

interface Left {
  member: Member
  start: Start | undefined
}

export class Processes {
  readonly session: Session
  /** For the header of the run: how sure it is that nothing outlives it. */
  get strength(): string {
    return describeStrength(this.session)
  }
  readonly #run: Run
  /** By mark: `<run>.<worker>.<ordinal>`. */
  readonly #starts = new Map<string, Start>()
  /** Start by identity of its process. */
  readonly #byProcess = new Map<string, Start>()
  /** Parent at first sight: a double fork cuts the link later. */
  readonly #parents = new Map<string, string>()
  /** Test file by the mark of the worker that ran it. */
  readonly #files = new Map<string, string>()
  readonly #temp: string | null
  #closed = false

  constructor(run: Run, temp: string | null) {
    this.#run = run
    this.session = Session.open({
      id: run.id,
      kind: 'vitest',
      label: `vitest in ${run.root}`,
      root: run.root,
      tag: { name: SESSION_ENV, value: run.id },
      found: (fresh) => this.#seen(fresh),
    })
    this.#temp = temp
    if (temp !== null) this.session.ownTemp(temp)
  }

  // ---- who started what

  /** A worker was started by this process: it is waited for by Node, never by us. */
  own(patient: Patient): void {
    const pid = patient.process?.pid
    if (pid === undefined) return
    this.session.ownChildren.add(pid)
    const id = identify(pid)
    if (id) this.session.record(id)
  }

  spawned(patient: Patient, report: SpawnReport): void {
    const id = report.pid === null ? undefined : identify(report.pid)
    const start: Start = { ...report, patient, id, keep: null }
    this.#starts.set(`${patient.tag}.${report.ordinal}`, start)
    if (id) {
      this.#byProcess.set(identityKey(id), start)
      this.session.record(id)
    }
    this.session.watch()
    if (this.#temp !== null) noteStart(this.#temp, this.#noteOf(patient, report))
  }

  #noteOf(patient: Patient, { ordinal, scope }: SpawnReport): StartNote {
    const task = scope.tests.length === 1 ? taskById(this.#run.vitest, scope.tests[0]!) : undefined
    return {
      mark: `${patient.tag}.${ordinal}`,
      test: task ? titles(task).join(' > ') : (scope.hook ?? ''),
      file: scope.file === null ? '' : this.#run.relative(scope.file),
    }
  }

  keep(pid: number, until: 'file' | 'run'): void {
    const id = identify(pid)
    const start = id && this.#byProcess.get(identityKey(id))
    if (start) start.keep = until
  }

  #seen(found: readonly ProcessIdentity[]): void {
    for (const id of found) {
      const parent = identify(readStat(id.pid)?.ppid ?? 0)
      if (parent && !this.#parents.has(identityKey(id))) this.#parents.set(identityKey(id), identityKey(parent))
    }
  }

  /** The start that a process goes back to, by its mark, its ancestors, or its birth within a synchronous call. */
  #startOf(member: ProcessIdentity): Start | undefined {
    const mark = readEnvironTag(member.pid, MEMBER_ENV)
    const marked = mark ? this.#starts.get(mark) : undefined
    if (marked) return marked
    let key: string | undefined = identityKey(member)
    for (let step = 0; key !== undefined && step < 100; step++) {
      const known = this.#byProcess.get(key)
      if (known) return known
      const pid: number = Number(key.split('/')[1])
      const parent: ProcessIdentity | undefined = step === 0 ? identify(readStat(pid)?.ppid ?? 0) : undefined
      key = this.#parents.get(key) ?? (parent && parent.pid > 1 ? identityKey(parent) : undefined)
    }
    const born = birth(member)
    if (born === undefined) return undefined
    const during = [...this.#starts.values()].filter(
      (start) => start.pid === null && born >= start.from - TICK_SLACK_MS && born <= start.to + TICK_SLACK_MS,
    )
    return during.length === 1 ? during[0] : undefined
  }

  // ---- what is over

  /**
   * Ends what a test or a file started and what still lives after the grace. Costs nothing for a worker that has started
   * no process.
   *
   * @param serving children that end with their worker: not yet
   * @param hung tests whose limit has passed: what they left is ended, and is no finding of its own
   */
  async over(
    patient: Patient,
    whose: ReapScope,
    graceMs: number,
    serving: readonly number[],
    hung: readonly string[] = [],
  ): Promise<Orphan[]> {
    this.session.sample()
    const later = new Set(serving)
    const mine = (): Left[] => this.#leftBy(patient, whose).filter(({ start }) => !later.has(start?.pid ?? 0))
    const found = await this.#end(await this.#afterGrace(mine(), mine, graceMs), patient.options.pool.project)
    return found.filter(({ tests }) => tests.length === 0 || !tests.every((id) => hung.includes(id)))
  }

  /** Those that are still there when they have had the time to end by themselves. */
  async #afterGrace(left: Left[], look: () => Left[], graceMs: number): Promise<Left[]> {
    const deadline = performance.now() + graceMs
    let still = left
    for (let pause = 5; still.length > 0 && performance.now() < deadline; pause = Math.min(pause * 2, 50)) {
      await new Promise((resolve) => setTimeout(resolve, pause))
      if (!still.some(({ member }) => isRunning(member))) still = look()
    }
    return still.length > 0 ? look() : still
  }

  #leftBy(patient: Patient, whose: ReapScope): Left[] {
    const starts = [...this.#starts.values()].filter((start) => start.patient === patient)
    const also = starts.map((start) => start.id).filter((id) => id !== undefined)
    const { members } = loadMembers().findMembers({
      tag: { name: MEMBER_ENV, value: patient.tag, below: true },
      // Adopted ones without a mark are known by the samples.
      also: [...also, ...this.#adopted(patient)],
    })
    return members
      .filter((member) => member.pid !== patient.pid)
      .map((member) => ({ member, start: this.#startOf(member) }))
      .filter(({ start }) => {
        if (start && start.patient !== patient) return false
        if ('test' in whose) return start?.keep == null && start?.scope.tests.includes(whose.test) === true
        // In a worker that runs several files, what no start is known for waits for the end of the worker.
        return start ? start.keep !== 'run' && start.scope.file === whose.file : false
      })
  }

  /** Processes that samples have seen below a start of this worker, whatever their parent is now. */
  #adopted(patient: Patient): ProcessIdentity[] {
    const found: ProcessIdentity[] = []
    for (const key of this.#parents.keys()) {
      const id = fromKey(key)
      if (isRunning(id) && this.#startOf(id)?.patient === patient) found.push(id)
    }
    return found
  }

  /** Processes of a worker that is gone, or is to go. */
  membersOf(patient: Patient): Member[] {
    return loadMembers()
      .findMembers({ tag: { name: MEMBER_ENV, value: patient.tag, below: true } })
      .members.filter((member) => member.pid !== patient.pid)
  }

  /**
   * Ends processes that outlived the worker that started them.
   * @param silent the worker was ended because it hung: what it left is part of that, not a finding of its own
   */
  async endLeft(patient: Patient, children: ProcessIdentity[], silent: boolean): Promise<Orphan[]> {
    if (patient.file !== null) this.#files.set(patient.tag, patient.file)
    const started = [...this.#starts.values()].some((start) => start.patient === patient)
    const left = children.filter((child) => isRunning(child))
    if (left.length === 0 && !started) return []
    const look = (): Left[] =>
      loadMembers()
        .findMembers({
          tag: { name: MEMBER_ENV, value: patient.tag, below: true },
          also: [...left, ...this.#adopted(patient)],
        })
        .members.filter((member) => member.pid !== patient.pid)
        .map((member) => ({ member, start: this.#startOf(member) }))
        .filter(({ start }) => start?.keep !== 'run')
    let mine = look()
    // What lives for its worker sees only now that the worker is gone.
    if (!silent && patient.dead) mine = await this.#afterGrace(mine, look, patient.options.policy?.orphanGrace ?? 0)
    let found: Orphan[] = []
    if (!silent) found = await this.#end(mine, patient.options.pool.project, this.#files.get(patient.tag))
    else if (mine.length > 0) await loadEnd().endMembers(mine.map(({ member }) => member))
    this.#forget(patient)
    return found
  }

  /** A run in watch mode has no end: what is gone is not remembered. */
  #forget(patient: Patient): void {
    for (const [mark, { patient: owner, id, keep }] of this.#starts) {
      if (owner !== patient || (keep === 'run' && id && isRunning(id))) continue
      this.#starts.delete(mark)
      if (id) this.#byProcess.delete(identityKey(id))
    }
    for (const key of this.#parents.keys()) if (!isRunning(fromKey(key))) this.#parents.delete(key)
  }

  async #end(
    left: readonly Left[],
    project: Patient['options']['pool']['project'] | undefined,
    file?: string,
  ): Promise<Orphan[]> {
    if (left.length === 0) return []
    const ages = new Map(left.map(({ member }) => [member.pid, age(member)]))
    const files = new Map(left.map(({ member }) => [member.pid, this.#fileOf(member.pid)]))
    const result = await loadEnd().endMembers(
      left.map(({ member }) => member),
      { politeMs: POLITE_MS },
    )
    const told = left.filter(({ start }) => start?.patient.options.policy?.orphans !== 'off')
    if (told.length === 0) return []
    const { describeOrphan } = await import('./orphans.ts')
    const outcome = new Map<number, { action: string; why: string }>([
      ...result.ended.map(({ pid, signal }) => [pid, { action: signal, why: '' }] as const),
      ...result.left.map(({ pid, reason }) => [pid, { action: 'none', why: reason }] as const),
    ])
    return trees(told).flatMap(({ root: { member, start }, below }) => {
      const how = outcome.get(member.pid)
      // It ended by itself in the meantime.
      if (!how) return []
      return describeOrphan(this.#run, project ?? start?.patient.options.pool.project, {
        pid: member.pid,
        command: member.command,
        ...how,
        below,
        ageMs: ages.get(member.pid) ?? null,
        start: start ?? null,
        file: start?.scope.file ?? file ?? files.get(member.pid) ?? null,
      })
    })
  }

  #fileOf(pid: number): string | null {
    const mark = readEnvironTag(pid, MEMBER_ENV)
    return mark ? (this.#files.get(mark.split('.').slice(0, 2).join('.')) ?? null) : null
  }

  // ---- earlier runs

  /**
   * Ends what killed runs on this machine have left and could not be ended by their sidecars.
   * @returns a sentence for each, and for what sidecars of runs in this folder have done
   */
  async recover(): Promise<string[]> {
    const { recoverSessions } = await import('../src/reap/recover.ts')
    const recovered = await recoverSessions({ root: this.#run.root })
    const { Redactor } = await import('../src/dump/redact.ts')
    const redactor = new Redactor(this.#run.options.redact)
    const names = (list: readonly { pid: number; command: string }[]): string => {
      const some = list.slice(0, 3).map((one) => `${one.pid} \`${redactor.text(one.command)}\``)
      return `${some.join(', ')}${list.length > 3 ? ' and others' : ''}`
    }
    return recovered.map(({ label, startedAt, by, ended, left }) => {
      const who = by === 'sidecar' ? 'its sidecar ended' : 'ended now:'
      const done = ended.length === 0 ? '' : `; ${who} ${ended.length} of its processes (${names(ended)})`
      const rest = left.length === 0 ? '' : `; ${left.length} could not be ended (${names(left)})`
      return `an earlier run (${label}, started ${new Date(startedAt).toISOString()}) was killed${done}${rest}`
    })
  }

  // ---- the end of the run

  /** Ends every process of the run that is left. */
  async close(): Promise<Orphan[]> {
    this.session.sample()
    const left = this.#members().map((member) => ({ member, start: this.#startOf(member) }))
    const kept = left.filter(({ start }) => start?.keep === 'run')
    if (kept.length > 0)
      await loadEnd().endMembers(
        kept.map(({ member }) => member),
        { politeMs: POLITE_MS },
      )
    return this.#end(
      left.filter((one) => !kept.includes(one)),
      undefined,
    )
  }

  /** What the workers have started and what came of it; not what this process itself has started (see `release`). */
  #members(): Member[] {
    const { query } = this.session
    const started = [...this.#byProcess.values()].map((start) => start.id).filter((id) => id !== undefined)
    const { members } = loadMembers().findMembers({ ...query, also: [...(query.also ?? []), ...started] })
    return members.filter((member) => !this.#isHelper(member))
  }

  /** vite and a global setup start processes too, which they end themselves. */
  #isHelper(member: Member): boolean {
    if (readEnvironTag(member.pid, SESSION_ENV) === this.#run.id) return false
    let pid = member.pid
    for (let step = 0; step < 100; step++) {
      const parent = readStat(pid)?.ppid
      if (parent === undefined || parent <= 1) return false
      if (parent === process.pid) return this.session.isOwnChild(pid)
      pid = parent
    }
    return false
  }

  /** For the exit handler, when `close` was not reached. */
  endNow(): void {
    loadEnd().endMembersSync(this.#members())
  }

  /**
   * Lets go of the session. What this process itself started and still runs (a server of a global setup) is left to the
   * sidecar, which takes it down when this process is gone.
   */
  release(): void {
    if (this.#closed) return
    this.#closed = true
    this.session.close(childrenOf(process.pid).every((pid) => pid === this.session.sidecar?.pid))
  }
}

function fromKey(key: string): ProcessIdentity {
  const [bootId = '', pid, start] = key.split('/')
  return { bootId, pid: Number(pid), start: Number(start) }
}

/** One finding per tree: a forgotten shell and what it runs are one. */
function trees(left: readonly Left[]): { root: Left; below: number }[] {
  const found: { root: Left; below: number }[] = []
  for (const one of left) {
    // Members come parents first; the depth is counted from the first of each tree.
    const tree = found.at(-1)
    if (one.member.depth > 0 && tree && one.start === tree.root.start) tree.below++
    else found.push({ root: one, below: 0 })
  }
  return found
}

function birth(id: ProcessIdentity): number | undefined {
  const uptime = uptimeMs()
  if (uptime === undefined) return undefined
  return performance.timeOrigin + performance.now() - uptime + (id.start * 1000) / TICKS_PER_SECOND
}

function age(id: ProcessIdentity): number | null {
  const uptime = uptimeMs()
  return uptime === undefined ? null : Math.max(0, Math.round(uptime - (id.start * 1000) / TICKS_PER_SECOND))
}
