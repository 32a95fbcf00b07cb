/** Dumps that were written earlier. */
import { readFileSync, statSync } from 'node:fs'
import { type DumpRecord, parseDumpRecord } from '../src/dump/schema.ts'
import { UsageError } from '../src/errors.ts'

/** A dump of a large worker has a few megabytes. */
const MAX_BYTES = 32 * 1024 * 1024
/** `{}` takes 110 bytes of memory for two of text. */
const MAX_CONTAINERS = 500_000
/** Records in a file that `--json` made of several processes. */
const MAX_RECORDS = 1000

/** Is this the path of a dump, rather than a pid or a part of a command line? A script's path may be such a part. */
export function isDumpFile(text: string): boolean {
  return /\.(?:json|txt)$/.test(text)
}

/**
 * The dumps in a file: one record, or a list of them.
 *
 * @throws {UsageError} when the file cannot be read or is not a dump
 */
export function readDumps(path: string): DumpRecord[] {
  const json = readJson(path)
  if (isRunRecord(json)) {
    throw new UsageError(
      `cannot read ${path}: it is the record of a run; the dump of a hang is named in its hangs[].dump`,
    )
  }
  try {
    return parse(json, path)
  } catch (error) {
    throw error instanceof UsageError && !error.message.includes(path)
      ? new UsageError(`${path} is no dump of harrow: ${error.message.replace(/^cannot read this dump: /, '')}`)
      : error
  }
}

function parse(json: unknown, path: string): DumpRecord[] {
  if (!Array.isArray(json)) return [parseDumpRecord(json)]
  if (json.length > MAX_RECORDS) throw new UsageError(`cannot read ${path}: more than ${MAX_RECORDS} dumps`)
  return json.map(parseDumpRecord)
}

/** `.harrow/run.json` lies beside the dumps. */
function isRunRecord(json: unknown): boolean {
  return typeof json === 'object' && json !== null && 'hangs' in json && 'orphans' in json && !('header' in json)
}

function readJson(path: string): unknown {
  let text: string
  try {
    const stat = statSync(path)
    if (stat.isDirectory()) throw new UsageError(`cannot read ${path}: it is a folder; give the .json file of a dump`)
    if (stat.size > MAX_BYTES) throw new UsageError(`cannot read ${path}: larger than ${MAX_BYTES / 1024 / 1024} MB`)
    const bytes = readFileSync(path)
    if (containers(bytes) > MAX_CONTAINERS)
      throw new UsageError(`cannot read ${path}: more than ${MAX_CONTAINERS} lists and objects, which no dump has`)
    text = bytes.toString('utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    throw new UsageError(`cannot read ${path}: ${code === 'ENOENT' ? 'there is no such file' : message}`)
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    const hint = path.endsWith('.txt') ? '; this is the text form, the .json file lies beside it' : ''
    throw new UsageError(`cannot read ${path}: it is not JSON (${(error as Error).message})${hint}`)
  }
}

/** Brackets that open, in texts as well: no more lists and objects than this can be in it. */
function containers(bytes: Uint8Array): number {
  let count = 0
  for (const byte of bytes) if (byte === 0x5b || byte === 0x7b) count++
  return count
}
