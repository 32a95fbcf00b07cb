import { readFileSync } from 'node:fs'

/**
 * The line of a test in its file, found by its title as a string literal. vitest knows it only with
 * `includeTaskLocation`, which costs a stack trace per test.
 */
export function testLine(path: string, title: string): number | undefined {
  try {
    const text = readFileSync(path, 'utf8')
    for (const quote of ["'", '"', '`']) {
      const at = text.indexOf(quote + title + quote)
      if (at >= 0) return text.slice(0, at).split('\n').length
    }
  } catch {
    // The file is gone or unreadable: the line stays unknown.
  }
  return undefined
}
