import type { HangBlockColors } from './hang-block.ts'
import type { LeakEntry } from './run-record.ts'
import { count, oneLine, where } from './words.ts'

/** One leak as the terminal shows it. */
export interface LeakLine {
  entry: LeakEntry
  /** Text of the line that made the handle. */
  source?: string | undefined
  /** How to close a handle of this kind. */
  hint?: string | undefined
}

/** What the terminal shows of the leaks of a run. */
export interface LeakBlockInput {
  leaks: readonly LeakLine[]
  /** Where the whole list is, for what does not fit. */
  record?: string
  /** @default 10 */
  mostTests?: number
  colors?: HangBlockColors
}

/** Leaks of one test, hook or file. */
export interface LeakGroup {
  title: string
  leaks: LeakLine[]
  /** Handles, not lines. */
  total: number
}

const MOST_LINES = 4
const same = (text: string): string => text
const NO_COLORS: HangBlockColors = { bold: same, dim: same, red: same, cyan: same, inverse: same }

/** Leaks by test, the test with the most open handles first. */
export function worstFirst(leaks: readonly LeakLine[]): LeakGroup[] {
  const groups = new Map<string, LeakGroup>()
  for (const leak of leaks) {
    const { file, test, hook, count: n } = leak.entry
    const where = test === null ? [hook === undefined ? '(outside of tests)' : `(${hook})`] : test
    const title = [file, ...where].map((part) => oneLine(part)).join(' > ')
    const group = groups.get(title) ?? { title, leaks: [], total: 0 }
    groups.set(title, group)
    group.leaks.push(leak)
    group.total += n
  }
  return [...groups.values()].sort((a, b) => b.total - a.total)
}

/** The block that a reporter prints at the end of a run, without a line end at its end; '' without leaks. */
export function renderLeakBlock(input: LeakBlockInput): string {
  const c = input.colors ?? NO_COLORS
  const groups = worstFirst(input.leaks)
  if (groups.length === 0) return ''
  const total = groups.reduce((sum, group) => sum + group.total, 0)
  const shown = groups.slice(0, input.mostTests ?? 10)
  const lines = [`${c.inverse(' LEAKS ')} ${count(total, 'handle')} left open by ${count(groups.length, 'test')}`]
  const hints = new Map<string, string>()
  for (const group of shown) {
    lines.push(`   ${c.bold(group.title)}`)
    for (const { entry, source, hint } of group.leaks.slice(0, MOST_LINES)) {
      const times = entry.count > 1 ? `${entry.count} × ` : ''
      const made = entry.created === undefined ? '' : `  ${c.cyan(oneLine(where(entry.created)))}`
      const code = source === undefined ? '' : `  ${c.dim(oneLine(source.trim(), 80))}`
      lines.push(`     ${times}${oneLine(entry.kind)}${made}${code}`)
      if (hint !== undefined) hints.set(entry.kind, hint)
    }
    if (group.leaks.length > MOST_LINES) lines.push(`     ${c.dim(`and ${group.leaks.length - MOST_LINES} more`)}`)
  }
  if (groups.length > shown.length) {
    const rest = input.record === undefined ? '' : `: ${input.record}`
    lines.push(`   ${c.dim(`and ${count(groups.length - shown.length, 'more test')}${rest}`)}`)
  }
  for (const [kind, hint] of hints) lines.push(`   ${c.dim(`${oneLine(kind)}: ${hint}`)}`)
  return lines.join('\n')
}
