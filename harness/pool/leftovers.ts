/** What a file or a test left behind, as its worker reports it: judged here, answered with the errors for its results. */
import type { TestProject } from '../compat.ts'
import type { Leak } from '../leaks.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Failure, FromWorker, LeakReport, ReapedProcess } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import type { Run } from '../run.ts'
import type { Patient } from './patient.ts'

/** What becomes of leaks and orphans in one project. */
export type Policy = Pick<ResolvedOptions, 'leaks' | 'ignoreLeaks' | 'orphans' | 'orphanGrace'>

/** What the worker gets to hear. */
interface Verdict {
  failures: Failure[]
  reaped: ReapedProcess[]
}

export class Leftovers {
  readonly #run: Run
  readonly #project: TestProject
  readonly #policy: Policy

  constructor(run: Run, project: TestProject, policy: Policy) {
    this.#run = run
    this.#project = project
    this.#policy = policy
  }

  /** @returns false for a message that is about something else */
  hear(patient: Patient, message: FromWorker): boolean {
    switch (message[MARK]) {
      case 'spawned':
        this.#run.processes.spawned(patient, message)
        return true
      case 'keep':
        this.#run.processes.keep(message.pid, message.until)
        return true
      case 'learned':
        patient.options.forker?.learn(patient.opener !== undefined, message)
        return true
      case 'deltas':
        this.#run.addDeltas(message.file, message.deltas)
        return true
      case 'file-end':
      case 'reap':
        void this.#answer(patient, message)
        return true
      default:
        return false
    }
  }

  async #answer(patient: Patient, message: Extract<FromWorker, { [MARK]: 'file-end' | 'reap' }>): Promise<void> {
    let verdict: Verdict = { failures: [], reaped: [] }
    try {
      verdict = message[MARK] === 'reap' ? await this.#reap(patient, message) : await this.#fileOver(patient, message)
    } catch (error) {
      this.#run.internal(error)
    }
    patient.send({ [MARK]: 'verdict', n: message.n, ...verdict })
  }

  /** What a test asks for by `reap()` is its own doing; what the end of a fixture finds is reported. */
  async #reap(patient: Patient, message: FromWorker & { [MARK]: 'reap' }): Promise<Verdict> {
    const { whose, finding, serving } = message
    const graceMs = finding ? this.#policy.orphanGrace : 0
    const orphans = await this.#run.processes.reap(patient, whose, graceMs, serving)
    if (finding) this.#run.addOrphans(orphans)
    const fails = finding && this.#policy.orphans === 'error'
    return {
      failures: fails ? orphans.map((orphan) => orphan.failure) : [],
      reaped: orphans.map((orphan) => orphan.reaped),
    }
  }

  async #fileOver(patient: Patient, message: FromWorker & { [MARK]: 'file-end' }): Promise<Verdict> {
    const { file, spawned, serving, hung } = message
    const { orphans, orphanGrace } = this.#policy
    const left = spawned && orphans !== 'off'
    const failures = left ? await this.#run.processes.fileOver(patient, file, orphanGrace, serving, hung) : []
    const leaks = await this.#leaks(message.leaks)
    this.#run.addLeaks(leaks)
    return {
      failures: [
        ...(this.#policy.leaks === 'error' ? leaks.map((leak) => leak.failure) : []),
        ...(orphans === 'error' ? failures : []),
      ],
      reaped: [],
    }
  }

  async #leaks(reports: readonly LeakReport[]): Promise<Leak[]> {
    if (reports.length === 0) return []
    const { Blame } = await import('../blame.ts')
    const { describeLeak } = await import('../leaks.ts')
    const blame = new Blame(this.#run, this.#project)
    return reports.map((report) => describeLeak(blame, report))
  }
}
