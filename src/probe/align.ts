/**
 * Positions of code that was changed on its way to V8 and came without a source map, as vitest and others do it: the lines
 * that run are found again in the file by their words.
 */

/** `[column, source, line, column]`, all from 0, as in a decoded source map. */
type Segment = [number, number, number, number]

/** A decoded source map, as far as a reader needs it. */
export interface AlignedMap {
  version: 3
  sources: [string]
  names: []
  mappings: Segment[][]
}

interface Word {
  text: string
  column: number
}

/** Longer files are bundles; comparing all their lines would take too long. */
const MOST_LINES = 5000
/** What a module runner puts in for imports. */
const INSERTED = /^(?:__vite_|__vi_|_interop|_async_to_generator)/

/**
 * A map from the text that runs to the text of the file; undefined when the two have the same lines, or are too long to
 * compare. Lines that cannot be told apart have no mapping.
 *
 * @param path of the file, to be named in the map
 */
export function alignTexts(running: string, file: string, path: string): AlignedMap | undefined {
  const from = running.split(/\r\n|\n|\r/).map(wordsOf)
  const to = file.split(/\r\n|\n|\r/).map(wordsOf)
  if (from.length > MOST_LINES || to.length > MOST_LINES || sameLines(from, to)) return undefined
  const lines = matchLines(from, to)
  const mappings = from.map((words, i): Segment[] => {
    const line = lines[i]
    return line === undefined || line < 0 ? [] : pairs(words, to[line] ?? [], line)
  })
  return { version: 3, sources: [path], names: [], mappings }
}

function wordsOf(line: string): Word[] {
  const words: Word[] = []
  for (const { 0: text, index: column } of line.matchAll(/[\p{ID_Start}$_#\d][\p{ID_Continue}$]*/gu)) {
    if (INSERTED.test(text)) {
      // `(0,__vite_ssr_import_0__.name)`
      if (words.at(-1)?.text === '0') words.pop()
      continue
    }
    words.push({ text, column })
  }
  return words
}

/** Type stripping leaves every word where it was. */
function sameLines(from: readonly Word[][], to: readonly Word[][]): boolean {
  return from.every((words, i) => words.length === 0 || pairs(words, to[i] ?? [], 0).length === words.length)
}

/** The words of a line that runs, in their order among the words of a line of the file; empty when one is missing. */
function pairs(words: readonly Word[], line: readonly Word[], number: number): Segment[] {
  const found: Segment[] = []
  let at = 0
  for (const { text, column } of words) {
    while (at < line.length && line[at]?.text !== text) at++
    const same = line[at++]
    if (same === undefined) return []
    found.push([column, 0, number, same.column])
  }
  return found
}

/** For each line the line of the file, -1 for none: first those that fit only one, then the others between them. */
function matchLines(from: readonly Word[][], to: readonly Word[][]): number[] {
  const fits = from.map((words) =>
    words.length === 0 ? [] : to.flatMap((line, i) => (pairs(words, line, i).length > 0 ? [i] : [])),
  )
  const lines: number[] = from.map(() => -1)
  const claimed = new Map<number, number>()
  for (const [only, ...more] of fits) {
    if (only !== undefined && more.length === 0) claimed.set(only, (claimed.get(only) ?? 0) + 1)
  }
  let last = -1
  fits.forEach(([only, ...more], i) => {
    if (only === undefined || more.length > 0 || claimed.get(only) !== 1 || only <= last) return
    lines[i] = only
    last = only
  })
  return fillBetween(from, fits, lines, to.length)
}

function fillBetween(
  from: readonly Word[][],
  fits: readonly number[][],
  anchors: readonly number[],
  length: number,
): number[] {
  const lines = [...anchors]
  for (let i = 0; i < from.length; i++) {
    if (anchors[i] !== -1) continue
    const before = anchors.findLastIndex((line, at) => at < i && line >= 0)
    const after = anchors.findIndex((line, at) => at > i && line >= 0)
    const low = anchors[before] ?? -1
    const high = after < 0 ? length : (anchors[after] ?? length)
    const inside = (fits[i] ?? []).filter((line) => line > low && line < high)
    const key = textOf(from[i] ?? [])
    const alike = from.flatMap((words, at) =>
      at > before && (after < 0 || at < after) && textOf(words) === key ? [at] : [],
    )
    // The first of three equal lines is the first of the three in the file.
    if (inside.length === alike.length) lines[i] = inside[alike.indexOf(i)] ?? -1
  }
  return lines
}

function textOf(words: readonly Word[]): string {
  return words.map(({ text }) => text).join(' ')
}
