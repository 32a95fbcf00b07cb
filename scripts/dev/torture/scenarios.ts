import { isRoot, Suite } from './suite.ts'
import type { TrialKind } from './trials.ts'
import {
  killMain,
  killMainBelowExec,
  killSidecarToo,
  killSupervisor,
  leftFiles,
  stopMain,
  type Trial,
} from './trials.ts'

export interface Scenario {
  name: string
  run: TrialKind
  /** How many trials make the whole torture. */
  trials: number
  otherUser?: boolean
}

/** The ways to die, each with the number of trials that must all leave nobody. */
export const scenarios: Scenario[] = [
  { name: 'main killed, nasty tree', run: killMain('nasty'), trials: 200 },
  { name: 'main killed below harrow exec, hostile tree', run: killMainBelowExec('hostile'), trials: 60 },
  { name: 'sidecar killed too, the next run cleans', run: killSidecarToo('nasty'), trials: 12 },
  { name: 'main stopped, left alone, then killed', run: stopMain('nasty'), trials: 6 },
  { name: 'main killed, forking sets', run: killMain('forking'), trials: 12 },
  { name: 'main killed below harrow exec, forking sets', run: killMainBelowExec('forking'), trials: 12 },
  { name: 'harrow exec itself killed, nasty tree', run: killSupervisor('nasty'), trials: 12 },
  { name: 'other user: main killed, nasty tree', run: killMain('nasty'), trials: 16, otherUser: true },
  {
    name: 'other user: below harrow exec, hostile tree',
    run: killMainBelowExec('hostile'),
    trials: 16,
    otherUser: true,
  },
]

/** Those that can be run here: only root can become another user. */
export function possible(all = scenarios): Scenario[] {
  return all.filter((one) => !one.otherUser || isRoot())
}

export interface Outcome {
  scenario: string
  trials: Trial[]
  /** Session files that were left in the end. */
  files: string[]
  /** Trials that there was no time for. */
  skipped: number
}

export interface Limits {
  /** How many trials run at the same time. */
  parallel: number
  /** Time on the clock of `performance.now()` after which no trial is started, milliseconds. */
  endAt: number
  progress?(done: Trial, scenario: Scenario): void
}

/** Runs the trials of one scenario, each lane in a project folder of its own. */
export async function runScenario(scenario: Scenario, trials: number, limits: Limits): Promise<Outcome> {
  const outcome: Outcome = { scenario: scenario.name, trials: [], files: [], skipped: 0 }
  let started = 0
  const lane = async (): Promise<void> => {
    const suite = new Suite(scenario.otherUser)
    try {
      while (started < trials && performance.now() < limits.endAt) {
        started++
        const trial = await scenario.run(suite)
        outcome.trials.push(trial)
        limits.progress?.(trial, scenario)
      }
      outcome.files.push(...(await leftFiles(suite)))
    } finally {
      suite.remove()
    }
  }
  await Promise.all(Array.from({ length: Math.min(limits.parallel, trials) }, lane))
  outcome.skipped = trials - started
  return outcome
}

/** Why an outcome is not good enough; empty when it is. */
export function complaintsAbout({ scenario, trials, files, skipped }: Outcome): string[] {
  const said = trials.flatMap(({ survivors, complaint }) => [
    ...(complaint === null ? [] : [complaint]),
    ...survivors.slice(0, 3).map(({ pid, command }) => `survivor ${pid} ${command.replace(/\s+/g, ' ').slice(0, 100)}`),
  ])
  if (files.length > 0) said.push(`session files were left: ${files.join(' ')}`)
  if (skipped > 0) said.push(`no time for ${skipped} trials`)
  return said.map((text) => `${scenario}: ${text}`)
}
