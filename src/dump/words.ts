import type { Site } from '../errors.ts'
import type { HangFacts } from './facts.ts'

/** `5012` → `5.012 s`; `digits` after the point, 3 unless told. */
export function seconds(ms: number, digits = 3): string {
  return Number.isFinite(ms) ? `${(ms / 1000).toFixed(digits)} s` : 'unknown'
}

/** `path:line:column`, the form that terminals make clickable. */
export function where(site: Site): string {
  return site.column === undefined ? `${site.path}:${site.line}` : `${site.path}:${site.line}:${site.column}`
}

/** True when both name the same line. */
export function sameLine(a: Site | undefined, b: Site | undefined): boolean {
  return a !== undefined && b !== undefined && a.path === b.path && a.line === b.line
}

const ESCAPES: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': ' ', '\u001b': '\\e' }
const HAS_CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

/**
 * The text on one line and harmless to a terminal: titles, locals and command lines come from the patient and may hold
 * line ends and escape sequences. Cut to `max` characters, marked by `…`.
 */
export function oneLine(text: string, max = Number.POSITIVE_INFINITY): string {
  // Cut before escaping: a local can be megabytes long.
  const cut = text.length > max ? `${text.slice(0, Math.max(0, max - 1))}…` : text
  if (!HAS_CONTROL.test(cut)) return cut
  return cut.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (char) => ESCAPES[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** In backticks, two where the code has one itself; on one line, at most 120 characters. */
export function quote(code: string): string {
  const text = oneLine(code.trim(), 120)
  return text.includes('`') ? `\`\`${text}\`\`` : `\`${text}\``
}

/** `a`, `a and b`, `a, b and c`. */
export function list(words: readonly string[]): string {
  if (words.length < 2) return words.join('')
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`
}

/** `1 frame`, `2 frames`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
}

/** Who hangs, as the subject of a sentence: `test "a > b"`, `the beforeAll hook`, `the module test/a.test.ts`. */
export function subject(facts: HangFacts): string {
  const title = facts.test === null ? null : `"${oneLine(facts.test.join(' > '), 200)}"`
  switch (facts.phase) {
    case 'hook':
      return `the ${facts.hook ?? 'setup or teardown'} hook${title === null ? '' : ` of test ${title}`}`
    case 'test':
      return title === null ? 'the test' : `test ${title}`
    case 'start':
      return 'the start of the worker'
    case 'collect':
      return `the module ${facts.file.path}`
    case 'teardown':
      return `the teardown${title === null ? '' : ` after test ${title}`}`
    case 'after-tests':
      return 'the worker, after its last test,'
    case 'program':
      return `process ${facts.pid}`
  }
}

/** Breaks at spaces only, so that no path is cut; code in backticks stays whole where a line can hold it. */
export function wrap(text: string, width: number): string[] {
  const words = text.match(/``.*?``\S*|`[^`]*`\S*|\S+/g) ?? []
  const lines: string[] = []
  let line = ''
  for (const word of words) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  if (line !== '') lines.push(line)
  return lines
}
