/** Where an actor's output goes, and its last lines, for errors. */
import { closeSync, fstatSync, openSync, readSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { makeFolder } from '../process/make-folder.ts'
import type { ActorOutput } from './backend.ts'

export interface OutputPlace {
  name: string
  uuid: string
  /** Folder of the log files; without one, output is drained to the log. */
  logDir: string | null
  line(stream: 'stdout' | 'stderr', text: string): void
}

export function outputFor(mode: ActorOutput['mode'], { name, uuid, logDir, line }: OutputPlace): ActorOutput {
  if (mode === 'inherit') return { mode }
  if (mode === 'pipe' || logDir === null) return { mode: 'pipe', line }
  const safe = name.replace(/[^\w.-]/g, '_').slice(0, 60)
  return { mode: 'file', path: join(logDir, `${safe}.${uuid.slice(0, 8)}.log`) }
}

const TAIL_BYTES = 4096
const MOST_LINES = 20

/** Keeps the end of what goes through a pipe, or reads it from a file. */
export class OutputTail {
  readonly #output: ActorOutput
  #text = ''

  constructor(output: ActorOutput) {
    this.#output = output
  }

  /** Opens the file that the child writes to; its owner alone may read it. @returns undefined when it cannot be had */
  open(): number | undefined {
    if (this.#output.mode !== 'file') return undefined
    try {
      // A sweep removes a folder that was empty for long.
      makeFolder(dirname(this.#output.path), 0o700)
      return openSync(this.#output.path, 'a', 0o600)
    } catch {
      return undefined
    }
  }

  /** Drains a stream, line by line; a line is cut at 64 KiB, so that one without an end stays bounded. */
  drain(stream: Readable | null | undefined, which: 'stdout' | 'stderr', fd?: number): void {
    if (!stream) return
    let rest = ''
    const output = this.#output
    const say = (line: string): void => {
      this.#text = `${this.#text}${line}\n`.slice(-TAIL_BYTES)
      if (output.mode === 'pipe') output.line(which, line)
    }
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => {
      rest += text
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > 65_536) {
        lines.push(rest)
        rest = ''
      }
      for (const line of lines) say(line)
    })
    stream.on('end', () => {
      if (rest !== '') say(rest)
    })
    stream.on('error', () => {})
    void fd
  }

  /** The last lines. */
  tail(): string {
    const text = this.#output.mode === 'file' ? readEnd(this.#output.path) : this.#text
    return text.trimEnd().split('\n').slice(-MOST_LINES).join('\n')
  }

  /** A log in which nothing stands, or that nobody needs, is removed. */
  dispose(keep: boolean): void {
    if (this.#output.mode !== 'file') return
    try {
      if (!keep || readEnd(this.#output.path) === '') unlinkSync(this.#output.path)
    } catch {
      // It never was there.
    }
  }
}

function readEnd(path: string): string {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const { size } = fstatSync(fd)
    const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES))
    readSync(fd, bytes, 0, bytes.length, size - bytes.length)
    return bytes.toString('utf8')
  } catch {
    return ''
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
