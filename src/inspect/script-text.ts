import { blank, type CodeBlock, functionAt, outline } from './code-outline.ts'
import type { Position } from './facts.ts'

/** Text of a script as V8 runs it, with what the outline says of it. */
export class ScriptText {
  readonly url: string
  readonly text: string
  /** Without strings, comments and regular expressions; same offsets. */
  readonly plain: string
  readonly root: CodeBlock
  readonly #lines: number[] = [0]
  readonly #firstColumn: number

  /**
   * @param firstColumn column that V8 gives to the first character of the text: below 0 where a loader has put a wrapper
   *   around the module without moving its columns
   */
  constructor(url: string, text: string, firstColumn = 0) {
    this.url = url
    this.text = text
    this.plain = blank(text)
    this.root = outline(text)
    this.#firstColumn = firstColumn
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#lines.push(at + 1)
  }

  /** Offset of a position, -1 when the text has no such line. */
  offset({ line, column }: Pick<Position, 'line' | 'column'>): number {
    const from = this.#lines[line - 1]
    return from === undefined ? -1 : from + column - 1 - (line === 1 ? this.#firstColumn : 0)
  }

  /** Innermost function around a position, null for the module's own code. */
  functionAt(at: Pick<Position, 'line' | 'column'>): CodeBlock | null {
    const offset = this.offset(at)
    return offset < 0 ? null : functionAt(this.root, offset)
  }

  /** Code of a block from its header on, strings and comments blanked. */
  code(block: CodeBlock): string {
    return this.plain.slice(block.from, block.end)
  }
}

/** The same for `file:///a/b.ts` and `/a/b.ts`. */
export function scriptKey(url: string): string {
  if (!url.startsWith('file://')) return url
  try {
    return decodeURI(url.slice('file://'.length))
  } catch {
    return url
  }
}
