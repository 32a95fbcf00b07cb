/** What one run of a project came to, and what two runs differ in. */
import { existsSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { ChildResult } from '../../../scripts/dev/child.ts'

export interface Outcome {
  run: ChildResult
  /** Statuses by test; several where names repeat, or where the same file is in several projects. */
  tests: Map<string, string[]>
  files: number
  /** Whatever harrow reported of this run: a line each. */
  reports: string[]
  /** Sentences of harrow's about itself: that it cannot fork, for one. */
  notes: string[]
}

interface JsonReport {
  testResults: {
    name: string
    status: string
    assertionResults: { fullName: string; status: string }[]
  }[]
}

interface Entry {
  file: string
  test?: readonly string[] | string | null
  diagnosis?: string
  class?: string
}

/** @param report path that vitest's reporter `json` was given, @param record of harrow's run record */
export function readOutcome(run: ChildResult, report: string, record: string, root: string): Outcome {
  const tests = new Map<string, string[]>()
  const { testResults } = parse<JsonReport>(report) ?? { testResults: [] }
  const add = (name: string, status: string): void => {
    const known = tests.get(name)
    if (known) known.push(status)
    else tests.set(name, [status])
  }
  for (const { name, status, assertionResults } of testResults) {
    const file = relative(root, name)
    // A file that cannot be collected has no tests.
    if (assertionResults.length === 0) add(`${file} > (file)`, status)
    for (const { fullName, status } of assertionResults) add(`${file} > ${fullName}`, status)
  }
  for (const statuses of tests.values()) statuses.sort()
  const found = parse<Record<'hangs' | 'leaks' | 'orphans', Entry[]>>(record)
  const reports = (['hangs', 'leaks', 'orphans'] as const).flatMap((kind) =>
    (found?.[kind] ?? []).map(({ file, test, diagnosis, class: sort }) =>
      `${kind.slice(0, -1)}: ${file} > ${[test ?? '?'].flat().join(' > ')}: ${diagnosis ?? sort ?? ''}`.slice(0, 300),
    ),
  )
  const notes = run.output.split('\n').flatMap((line) => /^ ?harrow: (.+)/.exec(line)?.[1] ?? [])
  return { run, tests, files: testResults.length, reports, notes }
}

/** How many tests have this status. */
export function count({ tests }: Outcome, status: string): number {
  return [...tests.values()].flat().filter((one) => one === status).length
}

/** A line for each test, and for the exit, that is not the same. */
export function differences(a: Outcome, b: Outcome): string[] {
  const lines: string[] = []
  for (const name of new Set([...a.tests.keys(), ...b.tests.keys()])) {
    const [left, right] = [a, b].map(({ tests }) => tests.get(name)?.join(', ') ?? 'missing')
    if (left !== right) lines.push(`${name}: ${left} / ${right}`)
  }
  const [left, right] = [a, b].map(({ run }) => (run.late ? 'ended at its limit' : `${run.code ?? run.signal}`))
  if (left !== right) lines.push(`exit: ${left} / ${right}`)
  return lines
}

function parse<T>(path: string): T | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined
}
