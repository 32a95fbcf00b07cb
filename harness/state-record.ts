/**
 * The state record: a small file per worker, rewritten at each transition by one `pwrite` (about 1.5 us), which the
 * main process reads when the worker cannot answer. It is the only witness when a thread sits in a system call.
 *
 * Layout: 8 bytes length of the JSON text in ASCII hex, then the text. A torn read (length and text of two different
 * writes) fails to parse and is read again.
 */
import { closeSync, openSync, readFileSync } from 'node:fs'
import type { WorkerState } from './protocol.ts'

const HEADER = 8
/** Longer records lose their breadcrumb frames first, then the list of concurrent tests. */
const MAX = 8192

export function openRecord(path: string): number {
  return openSync(path, 'w', 0o600)
}

export function closeRecord(fd: number): void {
  try {
    closeSync(fd)
  } catch {
    // Already closed, for instance by a test that closes every descriptor.
  }
}

/** Text of a record, ready for one write at offset 0. */
export function encodeRecord(state: WorkerState, stringify: (value: unknown) => string = JSON.stringify): string {
  let text = stringify(state)
  if (text.length > MAX) {
    const small = { ...state, running: state.running.slice(0, 8), sections: state.sections.slice(0, 8) }
    if (small.crumb) small.crumb = { ...small.crumb, frames: small.crumb.frames.slice(0, 4) }
    text = stringify(small)
  }
  return hexLength(text) + text
}

/** ASCII strings are the common case; the length counts bytes, because the reader cuts bytes. */
function hexLength(text: string): string {
  return Buffer.byteLength(text).toString(16).padStart(HEADER, '0')
}

/** Reads the last state; undefined when there is none or the file cannot be read. */
export function readRecord(path: string): WorkerState | undefined {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const bytes = readFileSync(path)
      const length = Number.parseInt(bytes.toString('latin1', 0, HEADER), 16)
      if (!Number.isInteger(length) || length <= 0 || HEADER + length > bytes.length) continue
      return JSON.parse(bytes.toString('utf8', HEADER, HEADER + length)) as WorkerState
    } catch {
      // Torn write or a file that went away: look again, the caller lives with nothing.
    }
  }
  return undefined
}
