import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ChildResult } from '../../scripts/dev/child.ts'
import type { RunRecordFile } from '../../src/dump/run-record.ts'
import type { Project } from '../project.ts'

/** One test of vitest's JSON report. */
export interface Assertion {
  title: string
  fullName: string
  status: string
  failureMessages: string[]
  meta: { harrow?: { hang: { class: string; diagnosis: string; dump: string | null } } }
}

/** What a run of a project said, in the two forms that tools read. */
export interface Outcome {
  run: ChildResult
  /** Status of each test by `file > full name`. */
  status: Map<string, string>
  assertions: Map<string, Assertion>
  record: RunRecordFile
}

/** Config text: the plugin with `options`, and `test` options beside short limits. */
export function config(options: string, test = ''): string {
  return `
    import { harrow } from 'harrow/vitest'
    export default { plugins: [harrow(${options})], test: { maxWorkers: 2, testTimeout: 800, hookTimeout: 800, ${test} } }`
}

/** Runs the project's suite and reads both reports. */
export async function runSuite(project: Project, args: string[] = [], limitMs = 90_000): Promise<Outcome> {
  const report = join(project.folder, 'report.json')
  const run = await project.vitest(
    ['--reporter=default', '--reporter=json', `--outputFile=${report}`, ...args],
    limitMs,
  )
  if (!existsSync(report))
    throw new Error(`vitest wrote no report (exit ${run.code ?? run.signal}, late: ${run.late}):\n${run.output}`)
  const json = JSON.parse(readFileSync(report, 'utf8')) as {
    testResults: { name: string; assertionResults: Assertion[] }[]
  }
  const assertions = new Map<string, Assertion>()
  for (const file of json.testResults) {
    for (const one of file.assertionResults)
      assertions.set(`${file.name.split('/').at(-1)} > ${one.fullName.trim()}`, one)
  }
  const status = new Map([...assertions].map(([name, one]) => [name, one.status]))
  return { run, status, assertions, record: readRecordFile(project) }
}

export function readRecordFile(project: Project): RunRecordFile {
  return JSON.parse(readFileSync(join(project.folder, '.harrow/run.json'), 'utf8')) as RunRecordFile
}
