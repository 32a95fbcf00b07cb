/**
 * The processes of a run, seen from the main process: what outlives its test, its file or the run, and the end of it. One
 * per run.
 */
import { createRequire } from 'node:module'
import type { OrphanEntry } from '../src/dump/run-record.ts'
import { identityKey, isRunning, type ProcessIdentity } from '../src/process/identity.ts'
import { childrenOf, linkTarget, readEnvironTag, readStat } from '../src/process/procfs.ts'
import type { Member } from '../src/reap/members.ts'
import { Session } from '../src/reap/session.ts'
import { noteStart, type StartNote } from '../src/reap/starts.ts'
import { describeStrength } from '../src/reap/strength.ts'
import type { Blame } from './blame.ts'
import { type TestProject, taskById, titles } from './compat.ts'
import { ageOf, bornAt, Ledger, type Left, loadMembers, trees } from './ledger.ts'
import type { Patient } from './pool/patient.ts'
import { type Failure, type ReapedProcess, type ReapScope, SESSION_ENV, type SpawnReport } from './protocol.ts'
import type { Run } from './run.ts'

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
const require = createRequire(import.meta.url)

/** Loaded when there is something to end; synchronous for the exit handler. */
const loadEnd = () => require(`../src/reap/end${extension}`) as typeof import('../src/reap/end.ts')

/** Between a polite signal and the next rung of the ladder. */
const POLITE_MS = 500

/** A process that outlived what had started it. */
export interface Orphan {
  entry: OrphanEntry
  failure: Failure
  reaped: ReapedProcess
  /** Processes that were ended: it and those below it, or none. */
  ended: number
}

/** What was done with a process, or is to be done. */
interface Outcome {
  /** A signal; `none`: nothing was done; `later`: it is to be ended with its worker. */
  action: string
  why: string
}

const LATER: Outcome = { action: 'later', why: '' }
const BY_ITSELF: Outcome = { action: 'none', why: 'it ended with its worker' }

interface Found extends Left {
  below: number
  ageMs: number | null
  /** The worker's own output that it has inherited: `stdout`, `stderr`. */
  inherited: string[]
}

export class Processes {
  readonly session: Session
  readonly #run: Run
  readonly #ledger = new Ledger()
  /** Orphans that were found at the end of a file, and are to be ended when their worker has stopped. */
  readonly #pending = new Map<Patient, Map<string, Found>>()
  /** Starts of tests that hung: what came of them is part of the hang. */
  readonly #hung = new Set<string>()
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
      found: (fresh) => this.#ledger.seen(fresh),
    })
    this.#temp = temp
    if (temp !== null) this.session.ownTemp(temp)
  }

  /** For the header of the run: how sure it is that nothing outlives it. */
  get strength(): string {
    return describeStrength(this.session)
  }

  /** A run of watch mode begins: a test that hung in the last one may be well in this one. */
  begin(): void {
    this.#hung.clear()
  }

  // ---- who started what

  spawned(patient: Patient, report: SpawnReport): void {
    const id = this.#ledger.add(patient, report)
    patient.output()
    if (id) this.session.record(id)
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
    this.#ledger.keep(pid, until)
  }

  // ---- what is over

  /**
   * Finds what a file started and what still lives after the grace. Nothing is ended yet: the worker lives, and its code
   * may react to the exit of a child, by an error or by starting another one.
   *
   * @param serving children that end with their worker: no findings unless they outlive it
   * @param hung tests whose limit has passed: what they left is part of the hang
   */
  async fileOver(
    patient: Patient,
    file: string,
    graceMs: number,
    serving: readonly number[],
    hung: readonly string[],
  ): Promise<Failure[]> {
    for (const id of hung) this.#hung.add(id)
    const later = new Set(serving)
    const left = await this.#afterGrace(
      () =>
        this.#below(patient).filter(
          ({ start }) => start?.scope.file === file && start.keep !== 'run' && !later.has(start.pid ?? 0),
        ),
      graceMs,
    )
    const found = this.#roots(left, patient).filter((one) => !this.#isOfHang(one))
    const pending = this.#pending.get(patient) ?? new Map<string, Found>()
    this.#pending.set(patient, pending)
    for (const one of found) pending.set(identityKey(one.member), one)
    return (await this.#describe(found, () => LATER, patient)).map((orphan) => orphan.failure)
  }

  /** Ends at once what a test, or a file, has started; asked for by `reap()` and the reaper fixtures. */
  async reap(patient: Patient, whose: ReapScope, graceMs: number, serving: readonly number[]): Promise<Orphan[]> {
    const later = new Set(serving)
    const mine = ({ start }: Left): boolean => {
      if (!start || later.has(start.pid ?? 0)) return false
      if ('test' in whose) return start.keep === null && start.scope.tests.includes(whose.test)
      return start.keep !== 'run' && start.scope.file === whose.file
    }
    const left = await this.#afterGrace(() => this.#below(patient).filter(mine), graceMs)
    return this.#endAndTell(this.#roots(left, patient), left, patient)
  }

  /**
   * Ends the processes of a worker that has stopped, or is to be ended.
   *
   * @param children of the worker when it still lived
   * @param silent the worker was ended because it hung: what it left is part of that, not a finding of its own
   */
  async endLeft(patient: Patient, children: readonly ProcessIdentity[], silent: boolean): Promise<Orphan[]> {
    const pending = this.#pending.get(patient) ?? new Map<string, Found>()
    const left = children.filter((child) => isRunning(child))
    if (left.length === 0 && pending.size === 0 && !this.#ledger.hasStarted(patient)) return []
    const look = (): Left[] => this.#below(patient, left).filter(({ start }) => start?.keep !== 'run')
    const isNew = ({ member }: Left): boolean => !pending.has(identityKey(member))
    // What lives for its worker sees only now that the worker is gone.
    const graceMs = silent || !patient.dead ? 0 : (patient.options.policy?.orphanGrace ?? 0)
    await this.#afterGrace(() => look().filter(isNew), graceMs)
    const mine = look()
    const told = this.#roots(mine, patient).filter((one) => {
      const known = pending.get(identityKey(one.member))
      if (known) pending.set(identityKey(one.member), { ...one, ageMs: known.ageMs })
      // Started behind the last hook of its file: an answer of the worker's code to its own end.
      return !known && !silent && !this.#isOfHang(one) && one.start?.scope.phase !== 'between'
    })
    this.#pending.delete(patient)
    const orphans = await this.#endAndTell([...pending.values(), ...told], mine, patient)
    if (patient.dead) this.#ledger.forget(patient)
    return orphans
  }

  #below(patient: Patient, also: readonly ProcessIdentity[] = []): Left[] {
    this.session.sample()
    // What this process itself has started, other workers above all, is nobody's orphan, whatever speaks for it.
    return this.#ledger.below(patient, also).filter(({ member }) => !this.session.isOwnChild(member.pid))
  }

  #isOfHang({ start }: Left): boolean {
    const tests = start?.scope.tests ?? []
    return tests.length > 0 && tests.every((id) => this.#hung.has(id))
  }

  #roots(left: readonly Left[], patient?: Patient): Found[] {
    return trees(left).map(({ root, below }) => ({
      ...root,
      below,
      ageMs: ageOf(root.member),
      inherited: inheritedBy(root.member.pid, root.start?.patient ?? patient),
    }))
  }

  /** Those that are still there when they have had the time to end by themselves. */
  async #afterGrace(look: () => Left[], graceMs: number): Promise<Left[]> {
    const deadline = performance.now() + graceMs
    let left = look()
    for (let pause = 5; left.length > 0 && performance.now() < deadline; pause = Math.min(pause * 2, 50)) {
      await new Promise((resolve) => setTimeout(resolve, pause))
      if (!left.some(({ member }) => isRunning(member))) left = look()
    }
    return left.length > 0 && graceMs > 0 ? look() : left
  }

  /** @param told what is reported, of all that is ended */
  async #endAndTell(told: readonly Found[], left: readonly Left[], patient?: Patient): Promise<Orphan[]> {
    if (told.length + left.length === 0) return []
    const outcomes = new Map<number, Outcome>()
    if (left.length > 0) {
      const ids = left.map(({ member }) => member)
      const result = await loadEnd().endMembers(ids, { politeMs: POLITE_MS })
      for (const { pid, signal } of result.ended) outcomes.set(pid, { action: signal, why: '' })
      for (const { pid, reason } of result.left) outcomes.set(pid, { action: 'none', why: reason })
    }
    // Outside of a worker, what has just ended by itself is no finding.
    const found = patient ? told : told.filter(({ member }) => outcomes.has(member.pid))
    return this.#describe(found, ({ member }) => outcomes.get(member.pid) ?? BY_ITSELF, patient)
  }

  async #describe(
    found: readonly Found[],
    outcome: (one: Found) => Outcome,
    patient: Patient | undefined,
  ): Promise<Orphan[]> {
    const told = found.filter(({ start }) => (start?.patient ?? patient)?.options.policy?.orphans !== 'off')
    if (told.length === 0) return []
    const { describeOrphan } = await import('./orphans.ts')
    const { Blame } = await import('./blame.ts')
    // One for each project: it reads every source map once.
    const blames = new Map<TestProject, Blame>()
    return told.map((one) => {
      const { member, start, below, ageMs, inherited } = one
      const project = (start?.patient ?? patient)?.options.pool.project ?? this.#run.vitest.projects[0]!
      const blame = blames.get(project) ?? new Blame(this.#run, project)
      blames.set(project, blame)
      const { pid, command } = member
      const file = start?.scope.file ?? patient?.file ?? null
      return describeOrphan(this.#run, blame, {
        pid,
        command,
        ...outcome(one),
        below,
        ageMs,
        inherited,
        start: start ?? null,
        file,
        since: bornAt(member) ?? null,
      })
    })
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
    const left = this.#members().map((member) => ({ member, start: this.#ledger.startOf(member) }))
    // A deliberate process is ended with the run, without a word.
    const told = this.#roots(left.filter(({ start }) => start?.keep !== 'run')).filter((one) => !this.#isOfHang(one))
    return this.#endAndTell(told, left)
  }

  /** What the workers have started and what came of it; not what this process itself has started (see `release`). */
  #members(): Member[] {
    const { query } = this.session
    const { members } = loadMembers().findMembers({
      ...query,
      also: [...(query.also ?? []), ...this.#ledger.started()],
    })
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

/** vitest ends a worker only when its output has ended, and with that waits for whoever has inherited it. */
function inheritedBy(pid: number, patient: Patient | undefined): string[] {
  const output = patient?.output() ?? []
  const own = new Set([0, 1, 2].map((fd) => linkTarget(`/proc/${pid}/fd/${fd}`)))
  return ['stdout', 'stderr'].filter((_, i) => /^(?:socket|pipe):/.test(output[i] ?? '') && own.has(output[i]))
}
