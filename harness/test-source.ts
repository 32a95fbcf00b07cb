import { readFileSync } from 'node:fs'

/** What the source of a test file says of a test. */
export interface TestSource {
  line: number
  /** Is the test function `async`? undefined when that cannot be told from its first characters. */
  body: 'async' | 'plain' | undefined
}

const LOOK_AHEAD = 300

/**
 * Finds a test in its file by its title as a string literal. vitest knows the line only with `includeTaskLocation`, which
 * costs a stack trace per test, and never the function itself, which it wraps.
 */
export function testSource(path: string, title: string): TestSource | undefined {
  try {
    const text = readFileSync(path, 'utf8')
    for (const quote of ["'", '"', '`']) {
      const at = text.indexOf(quote + title + quote)
      if (at < 0) continue
      const after = text.slice(at + title.length + 2, at + title.length + 2 + LOOK_AHEAD)
      const head = /^[\s\S]*?(?:=>|\bfunction\b)/.exec(after)?.[0]
      return {
        line: text.slice(0, at).split('\n').length,
        body: head === undefined ? undefined : /\basync\b/.test(head) ? 'async' : 'plain',
      }
    }
  } catch {
    // The file is gone or unreadable: its lines stay unknown.
  }
  return undefined
}
