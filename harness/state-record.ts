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

const stringify = JSON.stringify
const scratch = Buffer.alloc(HEADER + MAX)

/**
 * A record, ready for one write at offset 0; the bytes are good until the next call. Written by hand because two
 * `JSON.stringify` per test were the larger half of what harrow cost a test (`npm run bench`, suite "long").
 */
export function encodeRecord(state: WorkerState): { bytes: Uint8Array; length: number } {
  let text = textOf(state)
  if (text.length > MAX) {
    const small = { ...state, running: state.running.slice(0, 8), sections: state.sections.slice(0, 8) }
    if (small.crumb) small.crumb = { ...small.crumb, frames: small.crumb.frames.slice(0, 4) }
    text = textOf(small)
    if (text.length > MAX) text = textOf({ ...small, crumb: null })
  }
  const length = scratch.write(text, HEADER, 'latin1')
  writeHex(length)
  return { bytes: scratch, length: HEADER + length }
}

function writeHex(value: number): void {
  for (let at = HEADER - 1, rest = value; at >= 0; at--, rest >>>= 4) {
    const digit = rest & 15
    scratch[at] = digit < 10 ? 48 + digit : 87 + digit
  }
}

/** What stays the same from test to test, and what it was made from. */
const head = {
  phase: '',
  file: null as string | null,
  suite: null as string | null,
  hook: null as string | null,
  text: '',
}

function headOf({ phase, file, suite, hook }: WorkerState): string {
  if (head.phase !== phase || head.file !== file || head.suite !== suite || head.hook !== hook) {
    Object.assign(head, { phase, file, suite, hook })
    head.text = `"phase":"${phase}","file":${quoted(file)},"suite":${quoted(suite)},"hook":${quoted(hook)}`
  }
  return head.text
}

function textOf(state: WorkerState): string {
  let running = ''
  for (const { id, start } of state.running) {
    running += `${running && ','}{"id":${quoted(id)},"start":${Math.round(start)}}`
  }
  let sections = ''
  for (const { test, hook, start, timeout } of state.sections) {
    sections += `${sections && ','}{"test":${quoted(test)},"hook":${quoted(hook)},"start":${Math.round(start)},"timeout":${finite(timeout)}}`
  }
  const crumb = state.crumb === null ? 'null' : ascii(stringify(state.crumb))
  return `{"seq":${state.seq},"at":${Math.round(state.at)},${headOf(state)},"running":[${running}],"sections":[${sections}],"crumb":${crumb}${state.sigusr1 ? ',"sigusr1":true' : ''}}`
}

/** JSON knows no infinity; no limit is 0, as in vitest. */
const finite = (ms: number): number => (Number.isFinite(ms) ? ms : 0)

/** The texts that come again and again: the file, its suites, the names of hooks. */
const known = new Map<string, string>()
const PLAIN = /^[\w-]+$/

function quoted(text: string | null): string {
  if (text === null) return 'null'
  if (PLAIN.test(text)) return `"${text}"`
  let json = known.get(text)
  if (json === undefined) {
    json = ascii(stringify(text))
    if (known.size >= 100) known.clear()
    known.set(text, json)
  }
  return json
}

/** Only ASCII, so that characters and bytes are the same number. */
function ascii(json: string): string {
  return json.replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
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
