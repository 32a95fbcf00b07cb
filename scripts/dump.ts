/** `harrow dump FILE.json`: prints a dump that was written earlier. */
import { readFileSync, statSync } from 'node:fs'
import { defineCommand, renderUsage, runCommand } from 'citty'
import { renderDump } from '../src/dump/render.ts'
import { parseDumpRecord } from '../src/dump/schema.ts'
import { UsageError } from '../src/errors.ts'
import type { Verb } from './verb.ts'

/** A dump of a large worker has a few megabytes. */
const MAX_BYTES = 256 * 1024 * 1024
const FLAGS = new Set(['json', 'ascii', '_', 'file'])

const command = defineCommand({
  meta: { name: 'harrow dump', description: 'Print a hang dump from its JSON form' },
  args: {
    file: { type: 'positional', required: true, description: 'Path of the .json file of a dump' },
    json: { type: 'boolean', description: 'Print the record as JSON instead of text' },
    ascii: { type: 'boolean', description: 'Draw with ASCII characters only (default where the locale is not UTF-8)' },
  },
  run({ args }) {
    const strange = Object.keys(args).find((name) => !FLAGS.has(name))
    if (strange !== undefined) throw new UsageError(`unknown option --${strange} (known: --json, --ascii)`)
    if (args._.length > 1) throw new UsageError(`expected one file, got ${args._.length}: ${args._.join(' ')}`)
    const record = parseDumpRecord(readJson(args.file))
    process.stdout.write(
      args.json === true
        ? `${JSON.stringify(record, null, 2)}\n`
        : renderDump(record, { ascii: args.ascii ?? !isUtf8() }),
    )
  },
})

export const dump: Verb = {
  description: 'Print a hang dump from its JSON form',
  usage: () => renderUsage(command),
  run: async (rawArgs) => {
    await runCommand(command, { rawArgs })
  },
}

function readJson(path: string): unknown {
  let text: string
  try {
    const stat = statSync(path)
    if (stat.isDirectory()) throw new UsageError(`cannot read ${path}: it is a folder; give the .json file of a dump`)
    if (stat.size > MAX_BYTES) throw new UsageError(`cannot read ${path}: larger than ${MAX_BYTES / 1024 / 1024} MB`)
    text = readFileSync(path, 'utf8')
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

/** The locale decides; where none is set at all, terminals of today are UTF-8. */
function isUtf8(): boolean {
  const { LC_ALL, LC_CTYPE, LANG } = process.env
  const locale = LC_ALL || LC_CTYPE || LANG
  return locale === undefined || locale === '' || /utf-?8/i.test(locale)
}
