/** What a file or a test left behind, as its worker reports it: judged here, answered with the errors for its results. */
import type { TestProject } from '../compat.ts'
import type { Leak } from '../leaks.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Orphan } from '../processes.ts'
import type { FromWorker, LeakReport } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import type { Run } from '../run.ts'
import type { Patient } from './patient.ts'

/** What becomes of leaks and orphans in one project. */
export type Policy = Pick<ResolvedOptions, 'leaks' | 'ignoreLeaks' | 'orphans' | 'orphanGrace'>

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
    let orphans: Orphan[] = []
    let leaks: Leak[] = []
    // What a test asks for by `reap()` is its own doing and no finding.
    const asked = message[MARK] === 'reap' && !message.finding
    try {
      if (message[MARK] === 'reap') {
        const grace = asked ? 0 : this.#policy.orphanGrace
        orphans = await this.#run.processes.over(patient, message.whose, grace, message.serving)
      } else {
        if (message.spawned && this.#policy.orphans !== 'off') {
          const { orphanGrace } = this.#policy
          orphans = await this.#run.processes.over(
            patient,
            { file: message.file },
            orphanGrace,
            message.serving,
            message.hung,
          )
        }
        leaks = await this.#leaks(message.leaks)
      }
    } catch (error) {
      this.#run.internal(error)
    }
    if (!asked) this.#run.addOrphans(orphans)
    this.#run.addLeaks(leaks)
    patient.send({
      [MARK]: 'verdict',
      n: message.n,
      failures: [
        ...(this.#policy.leaks === 'error' ? leaks : []).map((leak) => leak.failure),
        ...(this.#policy.orphans === 'error' && !asked ? orphans : []).map((orphan) => orphan.failure),
      ],
      reaped: orphans.map((orphan) => orphan.reaped),
    })
  }

  async #leaks(reports: readonly LeakReport[]): Promise<Leak[]> {
    if (reports.length === 0) return []
    const { Blame } = await import('../blame.ts')
    const { describeLeak } = await import('../leaks.ts')
    const blame = new Blame(this.#run, this.#project)
    return reports.map((report) => describeLeak(blame, report))
  }
}
