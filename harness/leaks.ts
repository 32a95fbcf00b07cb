/** Handles that outlived their test: from a worker's report to entries of the run record. Loaded at the first leak. */

import type { LeakEntry } from '../src/dump/run-record.ts'
import { quote, where } from '../src/dump/words.ts'
import { kindHint } from '../src/inspect/resources/hints.ts'
import type { Blame } from './blame.ts'
import { titles } from './compat.ts'
import type { Failure, LeakReport } from './protocol.ts'

/** One leak, ready for the record and the reporters. */
export interface Leak {
  entry: LeakEntry
  /** Text of the line that made the handle. */
  source: string | undefined
  hint: string | undefined
  /** What `leaks: 'error'` adds to a result. */
  failure: Failure
}

export function describeLeak(blame: Blame, report: LeakReport): Leak {
  const { file, test, among, created, who } = blame.find(report.scope, report.created)
  const what = blame.redactor.text(report.what)
  const things = `${report.count > 1 ? `${report.count} × ` : ''}${report.kind}${what === '' ? '' : ` (${what})`}`
  const source = created?.source
  const made =
    created === undefined ? '' : `, made${source === undefined ? '' : ` by ${quote(source)}`} at ${where(created.site)}`
  const hint = kindHint(report.kind)
  const others = among.length > 1 ? ` (${among.map((task) => `"${titles(task).join(' > ')}"`).join(', ')})` : ''
  const diagnosis = `${who}${others} left open: ${things}${made}.`
  const text = `${diagnosis}${hint === undefined ? '' : `\nhint: ${hint}`}`
  const entry: LeakEntry = {
    file,
    test: test === null ? null : titles(test),
    ...(report.scope.hook !== null && { hook: report.scope.hook }),
    ...(among.length > 1 && { among: among.map(titles) }),
    class: 'leaked-handle-after-tests',
    kind: report.kind,
    ...(created && { created: { ...created.site } }),
    count: report.count,
    diagnosis,
  }
  const stack = blame.stack('LeakError', text, blame.frames(report.created), { path: file, line: 1 })
  return {
    entry,
    source,
    hint,
    failure: { test: test?.id ?? null, error: { name: 'LeakError', message: text, stack } },
  }
}
