import type { LiveHandle, Position } from '../facts.ts'
import { kindHint } from './hints.ts'
import type { BeforeAfter, ResourceDeltaReport } from './track.ts'

const NUMBERS = ['workers', 'threads', 'fds', 'children', 'listeners', 'unixSockets', 'shm'] as const
const WORDS: Record<string, string> = {
  unixSockets: 'unix sockets',
  children: 'child processes',
  shm: 'files in /dev/shm',
  listeners: 'process listeners',
}
const MOST_CHANGES = 20

/** The report as text for people, one line per fact, a line break at its end. */
export function renderDeltas(report: ResourceDeltaReport): string {
  const { label, tookMs, handles, changes, ignored } = report
  const lines = [`${label}: ${report.changed ? 'left something behind' : 'nothing left behind'} (ran ${tookMs} ms)`]
  for (const name of NUMBERS) {
    if (moved(report[name])) lines.push(`  ${WORDS[name] ?? name}: ${report[name].before} -> ${report[name].after}`)
  }
  for (const [kind, count] of Object.entries(report.kinds)) {
    if (moved(count)) lines.push(`  active ${kind}: ${count.before} -> ${count.after}`)
  }
  for (const handle of handles) lines.push(...handleLines(handle))
  for (const { appeared, name } of changes.slice(0, MOST_CHANGES)) lines.push(`  ${appeared ? '+' : '-'} ${name}`)
  if (changes.length > MOST_CHANGES) lines.push(`  and ${changes.length - MOST_CHANGES} more`)
  if (ignored > 0) lines.push(`  ignored: ${ignored}`)
  const heap = grown(report.heapUsed)
  if (heap) lines.push(`  heap: ${heap}`)
  return `${lines.join('\n')}\n`
}

function moved({ before, after }: BeforeAfter): boolean {
  return before !== null && after !== null && before !== after
}

function grown({ before, after }: BeforeAfter): string {
  if (before === null || after === null) return ''
  const megabytes = (after - before) / 1024 / 1024
  return `${megabytes < 0 ? '' : '+'}${megabytes.toFixed(1)} MB, garbage included`
}

function handleLines({ kind, what, ageMs, created }: LiveHandle): string[] {
  const at = created.find((frame) => frame.at && !frame.at.url.startsWith('node:'))?.at
  const site = at ? ` made at ${words(at)}` : ''
  return [`  open ${kind}${what && ` ${what}`} (${ageMs} ms old)${site}`, `    ${kindHint(kind)}`]
}

function words({ url, line, column }: Position): string {
  return `${url.replace(/^file:\/\//, '')}:${line}:${column}`
}
