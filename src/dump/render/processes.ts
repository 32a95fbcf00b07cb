import type { DumpProcess } from '../schema.ts'
import { oneLine } from '../words.ts'
import type { Marks } from './marks.ts'

const HEAD = ['pid', 'state', 'wchan', 'cpu(1 s)', 'rss', 'age', 'what']
/** Of a program, whose share was taken over a shorter time. */
const PROGRAM_HEAD = HEAD.map((name) => name.replace(/\(.*/, ''))

/** A worker with more descendants than this is told by its first ones. */
const MAX_ROWS = 500

/**
 * The processes as a tree by parent, in columns; empty when there are none.
 *
 * @param program of a program, not of a test
 */
export function processLines(all: readonly DumpProcess[], marks: Marks, program = false): string[] {
  if (all.length === 0) return []
  const processes = all.slice(0, MAX_ROWS)
  const known = new Set(processes.map((one) => one.pid))
  const rows: string[][] = [program ? PROGRAM_HEAD : HEAD]
  const shown = new Set<number>()

  const add = (one: DumpProcess, head: string, inner: string): void => {
    if (shown.has(one.pid)) return
    shown.add(one.pid)
    rows.push([head + one.pid, ...columns(one)])
    const children = processes.filter((child) => child.ppid === one.pid && !shown.has(child.pid))
    children.forEach((child, i) => {
      const last = i === children.length - 1
      add(child, inner + (last ? marks.last : marks.branch), inner + (last ? marks.gap : marks.pipe))
    })
  }
  for (const one of processes) if (!known.has(one.ppid) || one.ppid === one.pid) add(one, '', '')
  // Parents in a circle cannot come from a kernel, but a file may say so.
  for (const one of processes) add(one, '', '')

  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd((widths[column] ?? 0) + 2))
      .join('')
      .trimEnd(),
  )
  if (all.length > MAX_ROWS) lines.push(`${marks.fold} ${all.length - MAX_ROWS} more, see the JSON form of this dump`)
  return lines
}

function columns(one: DumpProcess): string[] {
  const what = [
    one.actor === undefined ? '' : `actor ${one.actor}`,
    one.command ?? '',
    one.orphan === true ? '(orphan)' : '',
  ]
  return [
    oneLine(one.state, 8),
    oneLine(one.wchan ?? '?', 40),
    one.cpuPercent === undefined ? '?' : `${Math.round(one.cpuPercent)} %`,
    one.rssBytes === undefined ? '?' : `${Math.round(one.rssBytes / 1_000_000)} MB`,
    one.ageMs === undefined ? '?' : `${Math.round(one.ageMs / 1000)} s`,
    oneLine(what.filter((part) => part !== '').join('   '), 200),
  ]
}
