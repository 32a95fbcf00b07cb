/** What runs at this moment, for whoever interrupts a run: nothing of vitest's says it. */
import { taskById, titles, type Vitest } from './compat.ts'
import type { Patient } from './pool/patient.ts'

export interface Running {
  /** `a.test.ts > suite > test`, or the file alone when no test runs. */
  name: string
  /** The hook or phase when no test runs. */
  phase: string | null
  /** So far, milliseconds. */
  ms: number
}

/** @param relative a path as it is shown */
export function whatRuns(vitest: Vitest, patients: Iterable<Patient>, relative: (path: string) => string): Running[] {
  const now = performance.timeOrigin + performance.now()
  const found: Running[] = []
  for (const patient of patients) {
    // A run with promises traced is no business of the user's.
    const state = patient.dead || patient.options.trace !== null ? undefined : patient.newestState()
    if (!state?.file) continue
    const file = relative(state.file)
    if (state.running.length === 0) found.push({ name: file, phase: state.hook ?? state.phase, ms: now - state.at })
    for (const { id, start } of state.running) {
      const task = taskById(vitest, id)
      if (task) found.push({ name: [file, ...titles(task)].join(' > '), phase: null, ms: now - start })
    }
  }
  return found
}
