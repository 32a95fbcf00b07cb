import type { Frame } from './facts.ts'
import { quote, where } from './words.ts'

const LONG = 100

/**
 * The awaited expression in a line of source: `await pump(sink, 10)` in `expect(await pump(sink, 10)).toBe(10)`. The whole
 * line when it has no `await` or several; undefined without a source.
 */
export function awaitedIn(frame: Frame): string | undefined {
  const { source } = frame
  if (source === undefined) return undefined
  const awaits = [...source.matchAll(/\bawait\b/g)]
  const start = awaits[0]?.index
  if (start === undefined || awaits.length > 1) return shorten(withoutEnd(source))
  // `for await (...)` reads from the `for`.
  const from = /\bfor\s+$/.exec(source.slice(0, start))?.index ?? start
  return shorten(source.slice(from, endOfExpression(source, start)))
}

function shorten(code: string): string {
  const text = code.trim()
  return text.length > LONG ? `${text.slice(0, LONG - 1)}…` : text
}

function withoutEnd(line: string): string {
  return line.replace(/[\s;]+$/, '')
}

/** Where the expression that begins at `start` ends: at an unmatched bracket, a comma or a semicolon outside of strings. */
function endOfExpression(source: string, start: number): number {
  let depth = 0
  let quoted = ''
  for (let i = start; i < source.length; i++) {
    const char = source[i] as string
    if (quoted !== '') {
      if (char === '\\') i++
      else if (char === quoted) quoted = ''
    } else if (char === '"' || char === "'" || char === '`') quoted = char
    else if ('([{'.includes(char)) depth++
    else if (')]}'.includes(char)) {
      if (depth-- === 0) return i
    } else if (depth === 0 && (char === ';' || char === ',')) return i
  }
  return source.length
}

/** `` `await once(server, 'close')` (test/a.test.ts:13:3) ``; the bare place when the line cannot be quoted. */
export function awaitedAt(frame: Frame): string {
  const code = awaitedIn(frame)
  return code === undefined ? `the await at ${where(frame.site)}` : `${quote(code)} (${where(frame.site)})`
}

/** A line of source with the one below it where the statement goes on, as one quoted text; undefined without a source. */
export function statement(frame: Frame): string | undefined {
  if (frame.source === undefined) return undefined
  return quote(frame.next === undefined ? frame.source : `${frame.source} ${frame.next}`)
}
