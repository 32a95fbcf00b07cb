import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'

/** Larger files are not read: generated bundles, where one line says little. */
const FILE_LIMIT = 4 * 1024 * 1024
/** Longer lines are minified code. */
const LINE_LIMIT = 240
/** Windows has no such flag, and no FIFOs in its file tree either. */
const NON_BLOCKING = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)
/** Texts kept at a time. */
const KEPT = 64

/** The line and, when its statement goes on below, the line after it; both trimmed. */
export interface SourceText {
  source?: string
  next?: string
}

/** Reads lines of source files on demand and keeps the last files read. A file that cannot be read has no lines. */
export class SourceTexts {
  readonly #files = new Map<string, string[] | null>()

  /**
   * @param path absolute path of the file, also the key of the cache
   * @param line 1-based
   * @param content text of the file when it is at hand (`sourcesContent` of a map); else it is read from disk
   */
  at(path: string, line: number, content?: string | null): SourceText {
    const lines = this.#lines(path, content)
    const source = lines?.[line - 1]?.trim()
    if (source === undefined || source === '' || source.length > LINE_LIMIT) return {}
    if (!goesOn(source)) return { source }
    const next = lines?.[line]?.trim()
    return next === undefined || next === '' || next.length > LINE_LIMIT ? { source } : { source, next }
  }

  #lines(path: string, content: string | null | undefined): string[] | null {
    const known = this.#files.get(path)
    if (known !== undefined) return known
    const text = content ?? readRegularFile(path)
    const lines = text === null ? null : text.split(/\r\n|\n|\r/)
    if (this.#files.size >= KEPT) this.#files.delete(this.#files.keys().next().value as string)
    this.#files.set(path, lines)
    return lines
  }
}

/** Does the statement of this line go on in the next one? */
function goesOn(line: string): boolean {
  return /(?:[([{,]|=>|[=?:&|+])$/.test(line)
}

/**
 * The text of a regular file of at most 4 MiB; null for anything else: a FIFO or a device under a source path would
 * block the reader for ever. That is why the open does not block and the type is asked from the descriptor.
 */
export function readRegularFile(path: string): string | null {
  let fd: number | undefined
  try {
    fd = openSync(path, NON_BLOCKING)
    const stat = fstatSync(fd)
    if (!stat.isFile() || stat.size > FILE_LIMIT) return null
    const bytes = Buffer.alloc(stat.size)
    let filled = 0
    while (filled < bytes.length) {
      const read = readSync(fd, bytes, filled, bytes.length - filled, filled)
      if (read === 0) break
      filled += read
    }
    return bytes.toString('utf8', 0, filled)
  } catch {
    return null
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
