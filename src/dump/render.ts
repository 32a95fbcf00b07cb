import { headerLines } from './render/header.ts'
import { ASCII, UNICODE } from './render/marks.ts'
import { sectionsOf } from './render/sections.ts'
import type { DumpRecord } from './schema.ts'
import { oneLine } from './words.ts'

export { type HangBlockColors, type HangBlockInput, hangBlockOf, renderHangBlock } from './hang-block.ts'

/** Options of {@link renderDump}. */
export interface RenderOptions {
  /**
   * Draw with ASCII characters only, for streams that are not UTF-8.
   * @default false
   */
  ascii?: boolean
}

/**
 * The text of a dump, with a line end at its end and no colour. Everything in it comes from the record; control
 * characters of the patient (in titles, locals, command lines) come out escaped.
 */
export function renderDump(record: DumpRecord, options: RenderOptions = {}): string {
  const marks = options.ascii === true ? ASCII : UNICODE
  const blocks = [headerLines(record, marks)]
  for (const [title, lines] of sectionsOf(record, marks)) blocks.push([`== ${oneLine(title, 300)} ==`, ...lines])
  const text = `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`
  return marks.ascii ? toAscii(text) : text
}

const PLAIN: Record<string, string> = {
  '…': '...',
  '›': '>',
  '–': '-',
  '—': '-',
  '’': "'",
  '“': '"',
  '”': '"',
  '·': '-',
}

/** Titles and source lines may hold any character; those outside ASCII come out as `\u{…}`. */
function toAscii(text: string): string {
  return text.replace(/[^\n -~]/gu, (char) => PLAIN[char] ?? `\\u{${char.codePointAt(0)?.toString(16)}}`)
}
