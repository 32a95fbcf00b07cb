import type { Confidence, Site } from '../errors.ts'
import { isUserFrame } from './render/frames.ts'
import { reproduceCommand } from './reproduce.ts'
import type { DumpRecord } from './schema.ts'
import { oneLine, seconds, where, wrap } from './words.ts'

/** The colours that the block uses; picocolors' object fits. Absent means no colour. */
export interface HangBlockColors {
  bold(text: string): string
  dim(text: string): string
  red(text: string): string
  cyan(text: string): string
  inverse(text: string): string
}

/** What the terminal shows of one hang. */
export interface HangBlockInput {
  /** Relative to the project root. */
  file: string
  test: string[] | null
  /** Name of the vitest project, where there are several. */
  project?: string
  hook?: string | null
  phase: string
  waitedMs: number
  class: string
  variant?: string
  confidence: Confidence
  diagnosis: string
  culprit?: Site
  /** Text of the line at `culprit`. */
  source?: string
  /** Path of the dump's text file; absent when there is none. */
  dump?: string
  /** Why there is no dump, one sentence. */
  dumpError?: string
  /** The command that runs the test again; made from `file`, `test` and `project` unless given. */
  again?: string
  hint?: string
  /**
   * Width of the terminal in columns. Sentences are wrapped to it; paths, commands and code are never cut.
   * @default 100
   */
  columns?: number
  colors?: HangBlockColors
}

const same = (text: string): string => text
const NO_COLORS: HangBlockColors = { bold: same, dim: same, red: same, cyan: same, inverse: same }
const INDENT = '   '

/** The block that a reporter prints for one hang, without a line end at its end. */
export function renderHangBlock(input: HangBlockInput): string {
  const c = input.colors ?? NO_COLORS
  const columns = Math.max(40, Math.floor(input.columns ?? 100))
  const lines = [headLine(input, c, columns)]
  if (input.culprit !== undefined) {
    const place = oneLine(where(input.culprit))
    const source = input.source === undefined ? '' : oneLine(input.source, 160)
    lines.push(INDENT + (source === '' ? c.cyan(place) : `${c.bold(source)}        ${c.cyan(place)}`))
  }
  for (const line of wrap(oneLine(input.diagnosis), columns - INDENT.length)) lines.push(INDENT + line)
  if (input.hint !== undefined) {
    for (const line of wrap(`hint: ${oneLine(input.hint)}`, columns - INDENT.length)) lines.push(INDENT + c.dim(line))
  }
  const variant = input.variant === undefined ? '' : `, ${oneLine(input.variant)}`
  const verdict = `class ${oneLine(input.class)} (${input.confidence}${variant})`
  lines.push(INDENT + c.dim(input.dump === undefined ? verdict : `${verdict} · dump ${oneLine(input.dump)}`))
  if (input.dump === undefined && input.dumpError !== undefined) lines.push(INDENT + c.red(oneLine(input.dumpError)))
  lines.push(
    INDENT + c.dim(`again: ${oneLine(input.again ?? reproduceCommand(input.file, input.test, input.project))}`),
  )
  return lines.join('\n')
}

/** The input of {@link renderHangBlock} for a dump; `dump` is the path of its text file. */
export function hangBlockOf(record: DumpRecord, dump?: string): HangBlockInput {
  const { header, verdict } = record
  const source = verdict.culpritFrame?.source
  return {
    file: header.file.path,
    test: header.test,
    ...(header.project !== undefined && { project: header.project }),
    hook: header.hook ?? null,
    phase: header.phase,
    waitedMs: header.waitedMs,
    class: verdict.class,
    ...(verdict.variant !== undefined && { variant: verdict.variant }),
    confidence: verdict.confidence,
    diagnosis: verdict.diagnosis,
    ...(verdict.culprit && { culprit: verdict.culprit }),
    ...(source !== undefined && verdict.culpritFrame && isUserFrame(verdict.culpritFrame) && { source }),
    ...(dump !== undefined && { dump }),
    ...(record.reproduce[0] !== undefined && { again: record.reproduce[0] }),
    ...(verdict.hint !== undefined && { hint: verdict.hint }),
  }
}

function headLine(input: HangBlockInput, c: HangBlockColors, columns: number): string {
  const project = input.project === undefined ? '' : `|${oneLine(input.project)}| `
  const names = project + [input.file, ...(input.test ?? [])].map((name) => oneLine(name)).join(' > ')
  const part = input.phase === 'test' ? '' : ` (${oneLine(input.hook ?? input.phase)})`
  const waited = `waited ${seconds(input.waitedMs, 1)}`
  const used = ' HANG  '.length + names.length + part.length
  // Right-aligned when it fits, else right behind the name.
  const gap = Math.max(2, columns - used - waited.length)
  return `${c.red(c.inverse(' HANG '))} ${c.bold(names)}${part}${' '.repeat(gap)}${c.dim(waited)}`
}
