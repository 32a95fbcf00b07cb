/** `harrow dump PID | PATTERN | FILE.json`: what a process is doing, or a dump that was written earlier. */
import { renderDump } from '../src/dump/render.ts'
import type { DumpRecord } from '../src/dump/schema.ts'
import { writeDump } from '../src/dump/write.ts'
import { UsageError } from '../src/errors.ts'
import { lookIntoProcess } from '../src/probe/dump-process.ts'
import { findByPattern, type Match, nodeTree } from '../src/probe/find.ts'
import { permitted } from '../src/probe/outside.ts'
import { programRecord } from '../src/probe/record.ts'
import { isDumpFile, readDumps } from './dump-file.ts'
import { ageWords, plain, sizeWords } from './screen.ts'
import { readArgs, readNumber, usageText, type Verb } from './verb.ts'

const DESCRIPTION = 'Show what a Node process is doing, or print a dump from its JSON form'
const OPTIONS = {
  tree: { type: 'boolean', description: 'Also every Node process below it' },
  all: { type: 'boolean', description: 'Every process that fits the pattern' },
  out: {
    type: 'string',
    valueHint: 'DIR',
    description: 'Write each dump there, as text and as JSON, and print the paths',
  },
  'heap-limit': {
    type: 'string',
    valueHint: 'MB',
    description: 'Largest heap that is searched for who holds what is awaited (default 150)',
  },
  redact: {
    type: 'string',
    multiple: true,
    valueHint: 'NAME',
    description: 'Never show values of this name, beside the built-in list; may be repeated',
  },
  'no-signal': { type: 'boolean', description: 'Send no SIGUSR1: use only an inspector that is open already' },
  json: { type: 'boolean', description: 'Print the record as JSON; a list of records for several processes' },
  ascii: { type: 'boolean', description: 'Draw with ASCII characters only (default where the locale is not UTF-8)' },
} as const
const MORE = `A number is a pid, a path that ends in .json a dump, anything else a text or regular expression in the command line of a
Node process of yours.

EXIT CODES

  0 dumped; what is missing stands in the capture notes
  1 a process ended before it could be looked at, or a file could not be written
  2 wrong usage: no such process or file, none or several that fit, another user's process`

const MOST_LISTED = 20

export const dump: Verb = {
  description: DESCRIPTION,
  usage: async () => {
    const what = { name: 'what', description: 'A pid, a part of a command line, or the .json file of a dump' }
    return `${(await usageText('dump', DESCRIPTION, OPTIONS, what)).trimEnd()}\n\n${MORE}\n`
  },
  run: async (args) => {
    const { values, positionals } = readArgs(args, OPTIONS, 1)
    const [what] = positionals
    if (what === undefined)
      throw new UsageError('expected a pid, a part of a command line, or the .json FILE of a dump')
    const ascii = values.ascii ?? !isUtf8()
    if (isDumpFile(what)) {
      const live = (['tree', 'all', 'out', 'heap-limit', 'no-signal', 'redact'] as const).find((name) => name in values)
      if (live !== undefined) throw new UsageError(`--${live} is for a process, and ${what} is the file of a dump`)
      show(readDumps(what), { json: values.json === true, ascii })
      return
    }
    const limit = values['heap-limit']
    const heapLimit = limit === undefined ? undefined : 1024 * 1024 * readNumber('--heap-limit', limit, 0, 100_000)
    const pids = await choose(what, values.all === true)
    const wanted = values.tree ? [...new Set((await Promise.all(pids.map(nodeTree))).flat())] : pids
    const records = await take(wanted, {
      redact: values.redact ?? [],
      noSignal: values['no-signal'] === true,
      ...(heapLimit !== undefined && { heapLimit }),
    })
    if (values.out === undefined) show(records, { json: values.json === true, ascii })
    else write(records, values.out, values.json === true)
  },
}

async function choose(what: string, all: boolean): Promise<number[]> {
  if (/^\d+$/.test(what)) {
    const pid = readNumber('PID', what, 1, 2 ** 31 - 1)
    await permitted(pid)
    return [pid]
  }
  const found = await findByPattern(what)
  if (found.length === 0) {
    throw new UsageError(
      `no Node process of yours has ${JSON.stringify(what)} in its command line (a pid works as well, and the path of a dump ends in .json)`,
    )
  }
  if (found.length > 1 && !all) throw new UsageError(severalFit(what, found))
  return found.map(({ pid }) => pid)
}

function severalFit(what: string, found: readonly Match[]): string {
  const lines = found
    .slice(0, MOST_LISTED)
    .map(({ pid, ageMs, rssBytes, command }) =>
      [
        String(pid).padStart(9),
        ageWords(ageMs).padStart(7),
        sizeWords(rssBytes).padStart(8),
        `  ${plain(command).slice(0, 110)}`,
      ].join(''),
    )
  const more = found.length > MOST_LISTED ? [`  … and ${found.length - MOST_LISTED} more`] : []
  return [
    `${found.length} processes fit ${JSON.stringify(what)}: give the pid of one, a longer text, or --all`,
    ...lines,
    ...more,
  ].join('\n')
}

interface TakeOptions {
  redact: string[]
  noSignal: boolean
  heapLimit?: number
}

/** One after the other: Node processes open their inspectors on the same port. */
async function take(pids: readonly number[], options: TakeOptions): Promise<DumpRecord[]> {
  const records: DumpRecord[] = []
  for (const pid of pids) {
    const progress = new Progress(
      pids.length > 1 ? `${records.length + 1}/${pids.length} process ${pid}` : `process ${pid}`,
    )
    try {
      const { facts, scripts } = await lookIntoProcess(pid, { ...options, step: (name) => progress.step(name) })
      records.push(programRecord(facts, scripts, { redact: options.redact, again: `npx harrow dump ${pid}` }))
      // One that had ended before, and was not collected, is what was asked for.
      if (facts.ended && facts.outside.state !== 'Z') process.exitCode = 1
    } catch (error) {
      // The first is what was asked for; those below it may come and go.
      if (records.length === 0 || !(error instanceof UsageError)) throw error
    } finally {
      progress.end()
    }
  }
  return records
}

function show(records: readonly DumpRecord[], { json, ascii }: { json: boolean; ascii: boolean }): void {
  if (json) process.stdout.write(`${JSON.stringify(records.length === 1 ? records[0] : records, null, 2)}\n`)
  else process.stdout.write(records.map((record) => renderDump(record, { ascii })).join('\n'))
}

function write(records: readonly DumpRecord[], dir: string, json: boolean): void {
  const paths: string[] = []
  for (const record of records) {
    const { pid, file } = record.header
    const written = writeDump(dir, { file: file.path, test: 'process', pid }, record)
    if ('error' in written) {
      process.stderr.write(`harrow: ${plain(written.error)}\n`)
      process.exitCode = 1
    } else paths.push(written.txt, written.json)
  }
  process.stdout.write(json ? `${JSON.stringify(paths, null, 2)}\n` : paths.map((path) => `${path}\n`).join(''))
}

/** One line on a terminal that says what is being done; nothing elsewhere. */
class Progress {
  readonly #what: string
  readonly #shown = process.stderr.isTTY === true

  constructor(what: string) {
    this.#what = what
  }

  step(name: string): void {
    if (this.#shown) process.stderr.write(`\r\u001b[2K${this.#what}: ${plain(name)} …`)
  }

  end(): void {
    if (this.#shown) process.stderr.write('\r\u001b[2K')
  }
}

/** The locale decides; where none is set at all, terminals of today are UTF-8. */
function isUtf8(): boolean {
  const { LC_ALL, LC_CTYPE, LANG } = process.env
  const locale = LC_ALL || LC_CTYPE || LANG
  return locale === undefined || locale === '' || /utf-?8/i.test(locale)
}
