import type { DumpRecord } from '../schema.ts'
import { oneLine, seconds, where } from '../words.ts'
import type { Marks } from './marks.ts'

/** Column at which the values of the header begin. */
const WIDTH = 13

export function headerLines(record: DumpRecord, marks: Marks): string[] {
  const { header, verdict, actors } = record
  const title = (titles: string[]): string => titles.map((one) => oneLine(one)).join(marks.title)
  const lines = [`harrow hang dump, format ${record.format}`]
  const add = (key: string, ...facts: (string | undefined)[]): void => {
    const present = facts.filter((fact) => fact !== undefined && fact !== '')
    if (present.length > 0) lines.push(`${key}:`.padEnd(WIDTH) + present.join('   '))
  }
  const fact = (name: string, value: string | number | undefined): string | undefined =>
    value === undefined || value === '' ? undefined : `${name}: ${oneLine(String(value))}`

  add('test', header.test === null ? '(no test was running)' : title(header.test))
  add('file', oneLine(where(header.file)), fact('phase', header.phase), fact('hook', header.hook))
  add('concurrent', header.concurrent?.map(title).join(', '))
  add('limit', seconds(header.limitMs), fact('waited', seconds(header.waitedMs)), fact('at', header.at))
  add(
    'backend',
    oneLine(header.backend),
    fact('node', header.node),
    fact('platform', header.platform),
    fact('vitest worker', header.worker),
  )
  add('pid', String(header.pid), fact('run', header.run), fact('actors', actors.map((one) => one.path).join(', ')))
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
}
