// npm run torture:reaper: kills real vitest runs in many ways and counts what is left of the processes that they started.
// Options: --quick (a tenth of the trials), --only TEXT (scenarios whose name contains it), --json FILE.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { build } from './build.ts'
import { complaintsAbout, type Outcome, possible, runScenario } from './torture/scenarios.ts'
import { removeSuites } from './torture/suite.ts'
import { endTrials } from './torture/trials.ts'

const LIMIT_MS = 25 * 60_000
const PARALLEL = 2

const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, only: { type: 'string' }, json: { type: 'string' } },
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, async () => {
    await endTrials()
    removeSuites()
    process.exit(1)
  })
}
// The trials run what npm would publish.
if (!build()) process.exit(1)
const endAt = performance.now() + LIMIT_MS
const chosen = possible().filter(({ name }) => name.includes(values.only ?? ''))
const outcomes: Outcome[] = []
for (const scenario of chosen) {
  const trials = values.quick ? Math.max(2, Math.ceil(scenario.trials / 10)) : scenario.trials
  let done = 0
  const outcome = await runScenario(scenario, trials, {
    parallel: PARALLEL,
    endAt,
    progress({ survivors, complaint }) {
      done++
      const bad = survivors.length > 0 || complaint !== null
      if (bad || done % 10 === 0 || done === trials) {
        const what = bad ? `${survivors.length} survivors ${complaint ?? ''}` : 'clean'
        console.log(`${scenario.name}: ${done}/${trials} ${what}`)
      }
    },
  })
  outcomes.push(outcome)
}

console.log(`\n${table(outcomes)}`)
const complaints = outcomes.flatMap(complaintsAbout)
for (const complaint of complaints) console.error(`torture: ${complaint}`)
if (values.json !== undefined) {
  writeFileSync(values.json, `${JSON.stringify({ node: process.version, outcomes, complaints }, null, 2)}\n`)
}
process.exitCode = complaints.length === 0 && outcomes.length > 0 ? 0 : 1

function table(rows: Outcome[]): string {
  const head = ['scenario', 'trials', 'members p50', 'survivors', 'runs with any', 'kill to clean p50', 'max']
  const lines = rows.map(({ scenario, trials }) => {
    const times = trials.flatMap(({ cleanMs }) => cleanMs ?? [])
    const left = trials.map(({ survivors }) => survivors.length)
    return [
      scenario,
      String(trials.length),
      String(
        quantile(
          trials.map(({ members }) => members),
          0.5,
        ),
      ),
      String(left.reduce((sum, n) => sum + n, 0)),
      String(left.filter((n) => n > 0).length),
      `${Math.round(quantile(times, 0.5))} ms`,
      `${Math.round(quantile(times, 1))} ms`,
    ]
  })
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function quantile(values: number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}
