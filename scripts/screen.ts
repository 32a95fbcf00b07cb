/** Words and tables for a terminal. */
import pc from 'picocolors'
import { shorten } from '../src/process/tree.ts'

/** Width of a line where no terminal tells one. */
const WIDTH = 160
/** Lines of a screen that a table leaves to what stands around it. */
const OTHER_LINES = 10

/** picocolors, without colour where stdout is no terminal. */
export const colors = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported)

/** A cell of a table: its text, and how to colour it. */
export type Cell = string | { text: string; paint: (text: string) => string }

/**
 * Lines of a table with aligned columns, as wide and as long as the terminal at most. Cells may come from anywhere: control
 * characters in them are shown as `?`.
 *
 * @param head titles; one that begins with `>` stands for a column that is aligned to the right
 * @param rows the last cell of a row takes the space that is left
 * @param indent blanks before each line
 */
export function table(head: string[], rows: Cell[][], indent = 2): string[] {
  const most = process.stdout.isTTY ? Math.max(10, (process.stdout.rows ?? 40) - OTHER_LINES) : Number.POSITIVE_INFINITY
  const shown = rows.slice(0, most)
  const titles: Cell[] = head.map((title) => ({ text: title.replace(/^>/, ''), paint: colors.dim }))
  const widths = head.map((_, column) => Math.max(...[titles, ...shown].map((row) => textOf(row[column]).length)))
  const width = process.stdout.isTTY ? (process.stdout.columns ?? WIDTH) : WIDTH
  const lines = [titles, ...shown].map((row) => {
    let room = width - indent
    const cells = row.map((cell, column) => {
      const last = column === row.length - 1
      const text = shorten(textOf(cell), Math.max(8, last ? room : widths[column]!))
      room -= widths[column]! + 2
      const pad = ' '.repeat(last ? 0 : widths[column]! - text.length)
      const painted = typeof cell === 'string' ? text : cell.paint(text)
      return head[column]?.startsWith('>') ? pad + painted : painted + pad
    })
    return `${' '.repeat(indent)}${cells.join('  ').trimEnd()}`
  })
  if (shown.length < rows.length)
    lines.push(`${' '.repeat(indent)}… and ${rows.length - shown.length} more (see --json)`)
  return lines
}

function textOf(cell: Cell | undefined): string {
  return plain(typeof cell === 'object' ? cell.text : (cell ?? ''))
}

/** A text in which nothing moves the cursor. */
export function plain(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}

/** `3 s`, `12 min`, `5 h`, `2 d`; `?` when unknown. */
export function ageWords(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '?'
  const seconds = Math.floor(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** `12 MB`; `?` when unknown. */
export function sizeWords(bytes: number | null | undefined): string {
  return bytes === null || bytes === undefined ? '?' : `${Math.round(bytes / 1e6)} MB`
}

/** `1 process`, `2 processes`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`
}

/** Writes lines to stdout. */
export function print(lines: string[]): void {
  process.stdout.write(lines.length === 0 ? '' : `${lines.join('\n')}\n`)
}

/** Writes a value to stdout as JSON. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}
