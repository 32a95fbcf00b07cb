import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolder } from '../process/make-folder.ts'
import { renderDump } from './render.ts'
import type { DumpRecord } from './schema.ts'
import { writeProblem, writeWhole } from './write-file.ts'

/** What the name of a dump is made of. */
export interface DumpName {
  /** Path of the test file; the folders are dropped. */
  file: string
  /** Title of the test, or what else hung. */
  test: string
  pid: number
  /**
   * Number to begin with; a number that is taken is counted up.
   * @default 1
   */
  n?: number
}

/** Paths of the two forms of a dump, or one sentence that says why there is none. */
export type WrittenDump = { txt: string; json: string } | { error: string }

/** Longest part of a name, in bytes, so that the whole name stays below the usual 255. */
const FILE_BYTES = 80
const TEST_BYTES = 100
const MAX_TRIES = 10_000

/**
 * Writes a dump as `<dir>/<file>--<test>--<pid>.<n>.txt` and `.json`. The folder is made when missing (mode 0700), the
 * files have mode 0600 and appear whole. Never throws.
 */
export function writeDump(dir: string, name: DumpName, record: DumpRecord): WrittenDump {
  const stem = `${part(name.file.split(/[\\/]/).at(-1) ?? '', FILE_BYTES)}--${part(name.test, TEST_BYTES)}--${Math.trunc(name.pid)}`
  const made: string[] = []
  let txt = join(dir, `${stem}.txt`)
  try {
    makeFolder(dir, 0o700)
    const path = freePath(dir, stem, name.n ?? 1)
    txt = `${path}.txt`
    const json = `${path}.json`
    const text = renderDump(record)
    writeWhole(json, `${JSON.stringify(record, null, 2)}\n`)
    made.push(json)
    writeWhole(txt, text)
    return { txt, json }
  } catch (error) {
    for (const path of made) removeQuietly(path)
    return { error: writeProblem('the dump', txt, error) }
  }
}

/** A number of an earlier run must not be taken twice: pids come round. */
function freePath(dir: string, stem: string, first: number): string {
  for (let n = first; ; n++) {
    const path = join(dir, `${stem}.${n}`)
    if (n - first > MAX_TRIES || !(existsSync(`${path}.txt`) || existsSync(`${path}.json`))) return path
  }
}

/** Letters, digits, `.`, `_` and `-` of any script; everything else becomes one `-`. Never `..`, never a leading dot. */
function part(text: string, maxBytes: number): string {
  const clean = text
    .normalize('NFC')
    .replace(/[^\p{L}\p{N}\p{M}._]+/gu, '-')
    .replace(/\.{2,}/g, '.')
    .replace(/^[-.]+|[-.]+$/g, '')
  let cut = ''
  let bytes = 0
  for (const char of clean) {
    bytes += Buffer.byteLength(char)
    if (bytes > maxBytes) break
    cut += char
  }
  return cut === '' ? 'unnamed' : cut
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // The first error says it better.
  }
}
