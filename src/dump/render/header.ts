import type { DumpHeader, DumpProgram, DumpRecord } from '../schema.ts'
import { oneLine, seconds, where } from '../words.ts'
import type { Marks } from './marks.ts'

/** Column at which the values of the header begin. */
const WIDTH = 13

export function headerLines(record: DumpRecord, marks: Marks): string[] {
  const { header, verdict, actors } = record
  const title = (titles: string[]): string => titles.map((one) => oneLine(one)).join(marks.title)
  const kind = header.program === undefined ? 'hang' : 'process'
  const lines = [`harrow ${kind} dump, format ${record.format}`]
  const add = (key: string, ...facts: (string | undefined)[]): void => {
    const present = facts.filter((fact) => fact !== undefined && fact !== '')
    if (present.length > 0) lines.push(`${key}:`.padEnd(WIDTH) + present.join('   '))
  }
  const fact = (name: string, value: string | number | undefined): string | undefined =>
    value === undefined || value === '' ? undefined : `${name}: ${oneLine(String(value))}`

  if (header.program === undefined) {
    add('test', header.test === null ? '(no test was running)' : title(header.test))
    add('file', oneLine(where(header.file)), fact('phase', header.phase), fact('hook', header.hook))
    add('concurrent', header.concurrent?.map(title).join(', '))
    add('limit', seconds(header.limitMs), fact('waited', seconds(header.waitedMs)), fact('at', header.at))
    add(
      'backend',
      oneLine(header.backend),
      fact('project', header.project),
      fact('node', header.node),
      fact('platform', header.platform),
      fact('vitest worker', header.worker),
    )
    add('pid', String(header.pid), fact('run', header.run), fact('actors', actors.map((one) => one.path).join(', ')))
  } else programLines(header, header.program, actors.length)
  add(
    'class',
    oneLine(verdict.class),
    fact('variant', verdict.variant),
    fact('confidence', verdict.confidence),
    fact('also considered', verdict.alsoConsidered?.join(', ')),
  )
  add('diagnosis', oneLine(verdict.diagnosis))
  if (verdict.culprit !== undefined) {
    add('culprit', oneLine(where(verdict.culprit)), verdict.holder && fact('holder', where(verdict.holder)))
  } else if (verdict.holder !== undefined) {
    add('culprit', 'not known', fact('holder', where(verdict.holder)))
  }
  add('evidence', verdict.evidence.map((one) => oneLine(one)).join('; '))
  add('hint', verdict.hint && oneLine(verdict.hint))
  return lines

  function programLines(about: DumpHeader, program: DumpProgram, threads: number): void {
    const { command, cwd, uid, state, cpuPercent, rssBytes, heapBytes, ageMs, inspector, reason, notAttached } = program
    add('process', `${about.pid}   ${oneLine(command, 200)}`)
    add('why', reason && oneLine(reason))
    add('folder', cwd && oneLine(cwd), fact('user', uid))
    add('at', oneLine(about.at), fact('node', about.node), fact('platform', about.platform))
    add(
      'state',
      stateName(state),
      cpuPercent === undefined ? undefined : `cpu: ${Math.round(cpuPercent)} %`,
      fact('age', ageMs === undefined ? undefined : ageWords(ageMs)),
      fact('memory', rssBytes === undefined ? undefined : megabytes(rssBytes)),
      fact('heap', heapBytes === undefined ? undefined : megabytes(heapBytes)),
    )
    if (notAttached === undefined) {
      add('threads', String(threads), fact('inspector', inspector && INSPECTOR[inspector]))
    } else add('inside', `not seen: ${oneLine(notAttached)}`)
  }
}

const INSPECTOR = {
  closed: 'opened for this dump and closed again',
  open: 'was open, stays open',
  debugger: 'a debugger is connected, stays connected',
}
const STATES: Record<string, string> = {
  R: 'running',
  S: 'sleeping',
  D: 'in uninterruptible sleep',
  Z: 'zombie',
  T: 'stopped',
  t: 'stopped by a tracer',
}

function stateName(letter: string): string {
  return STATES[letter] ?? (letter === '?' ? 'unknown' : oneLine(letter, 8))
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`
}

/** `12.3 s`, `5 min`, `3 h`, `2 d`. */
function ageWords(ms: number): string {
  if (ms < 120_000) return seconds(ms, 1)
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 120) return `${minutes} min`
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`
}
