/** Processes that outlived what started them: entries for the run record, and errors. Loaded at the first one. */
import { list, quote, seconds, where } from '../src/dump/words.ts'
import type { Blame, Blamed } from './blame.ts'
import { titles } from './compat.ts'
import type { Orphan } from './processes.ts'
import type { SpawnReport } from './protocol.ts'
import type { Run } from './run.ts'

export interface EndedOrphan {
  pid: number
  command: string
  /** The signal that ended it; `none`; or `later`. */
  action: string
  /** Why it was not ended; '' when it was. */
  why: string
  /** So many more processes below it. */
  below: number
  ageMs: number | null
  /** The worker's own output that it has inherited. */
  inherited: string[]
  /** Absolute path of the test file. */
  file: string | null
  start: SpawnReport | null
  /** When it began, milliseconds since the epoch. */
  since: number | null
}

const HINT = 'end it in the test (or in a hook) and wait for its exit event; a process that is to stay: keep(child)'

export function describeOrphan(run: Run, blame: Blame, orphan: EndedOrphan): Orphan {
  const { pid, action, ageMs, start } = orphan
  const blamed = start ? blame.find(start.scope, start.created) : blamedByTime(blame, orphan)
  const file = blamed?.file || (orphan.file === null ? '' : run.relative(orphan.file))
  const command = blame.redactor.text(orphan.command)
  const { created } = blamed ?? {}
  const age = ageMs === null ? '' : `, ${seconds(ageMs, 1)} old`
  const more = orphan.below === 0 ? '' : `, ${orphan.below} more below it`
  // The process itself, or one further down: the line is then that of the process that led to it.
  const direct = start?.pid === pid
  const how = direct ? 'spawned' : 'left behind by the process that was spawned'
  const line = created
    ? `, ${how}${created.source === undefined ? '' : ` by ${quote(created.source)}`} at ${where(created.site)}`
    : ''
  const ended = endWords(action, orphan.why)
  const held =
    orphan.inherited.length === 0
      ? ''
      : `; it has inherited the worker's ${list(orphan.inherited)}, for whose end vitest waits when it ends a worker`
  const who = blamed?.who ?? (file === '' ? 'a test' : file)
  const diagnosis = `${who} left process ${pid} behind (\`${command}\`${age}${more})${line}${held}; ${ended}.`
  const text = `${diagnosis}\nhint: ${HINT}`
  const stack = blame.stack('OrphanError', text, start ? blame.frames(start.created) : [], { path: file, line: 1 })
  return {
    entry: {
      file,
      test: blamed?.test ? titles(blamed.test) : null,
      ...(start?.scope.hook != null && { hook: start.scope.hook }),
      class: 'orphan-process',
      pid,
      command,
      ...(ageMs !== null && { ageMs }),
      ...(created && { created: { ...created.site } }),
      action,
      diagnosis,
    },
    failure: { test: blamed?.test?.id ?? null, error: { name: 'OrphanError', message: text, stack } },
    reaped: { pid, command, ageMs, action, diagnosis },
    ended: action === 'none' ? 0 : 1 + orphan.below,
  }
}

function blamedByTime(blame: Blame, { file, since }: EndedOrphan): Blamed | undefined {
  return file === null || since === null ? undefined : blame.during(file, since)
}

function endWords(action: string, why: string): string {
  if (action === 'later') return 'it is ended when its worker stops'
  if (action !== 'none') return `it was ended with ${action}`
  return why.startsWith('it ') ? why : `it could not be ended: it ${why}`
}
