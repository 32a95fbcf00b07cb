/** `harrow exec -- COMMAND [ARGS]`: runs a command and ends everything that it leaves behind. */
import { Redactor } from '../src/dump/redact.ts'
import { UsageError } from '../src/errors.ts'
import { shorten } from '../src/process/tree.ts'
import type { SuperviseResult } from '../src/reap/supervise.ts'
import type { EndedBelow } from '../src/reap/supervise-subtree.ts'
import { readArgs, readNumber, usageText, type Values, type Verb } from './verb.ts'

const LONGEST_GRACE_MS = 3_600_000
/** Characters of the command in the report and in the session file. */
const LONGEST_COMMAND = 80
/** A set that goes on forking can have hundreds of members; the JSON form has them all. */
const MOST_LINES = 20
/** Code of a wrapper that failed itself, as env(1) and timeout(1) have it: 1 and 2 could be the command's. */
const FAILED = 125
const CODES = `EXIT CODES

  that of the command; 128 + n when signal n ended it; 1 when it succeeded and a process that it left could not be ended
  127 there is no such command, 126 it cannot be started, ${FAILED} harrow itself failed, 2 wrong usage`

const DESCRIPTION = 'Run a command and end everything that it leaves behind'
const OPTIONS = {
  grace: { type: 'string', valueHint: 'MS', description: 'Time between SIGTERM and SIGKILL (default 1000)' },
  isolate: { type: 'boolean', description: 'Run it in a pid namespace of its own, by unshare(1)' },
  json: { type: 'boolean', description: 'Tell what was ended as one line of JSON on stderr' },
} as const

export const exec: Verb = {
  description: DESCRIPTION,
  usage: async () => {
    const text = await usageText('exec', DESCRIPTION, OPTIONS)
    return `${text.replace('[OPTIONS]', '[OPTIONS] -- <COMMAND> [ARGS]').trimEnd()}\n\n${CODES}\n`
  },
  run: async (args) => {
    const cut = args.indexOf('--')
    const { values, positionals } = readArgs(cut < 0 ? args : args.slice(0, cut), OPTIONS, Number.POSITIVE_INFINITY)
    if (positionals.length > 0) {
      throw new UsageError(`put -- before the command: harrow exec -- ${positionals.join(' ')}`)
    }
    const [name, ...rest] = cut < 0 ? [] : args.slice(cut + 1)
    if (!name) throw new UsageError('expected a command after --, for example: harrow exec -- npm test')
    await execute(name, rest, values)
  },
}

async function execute(name: string, args: string[], values: Values<typeof OPTIONS>): Promise<void> {
  const graceMs = values.grace === undefined ? undefined : readNumber('--grace', values.grace, 0, LONGEST_GRACE_MS)
  const { IsolationError, supervise } = await import('../src/reap/supervise.ts')
  const { describeStrength } = await import('../src/reap/strength.ts')
  let result: SuperviseResult
  try {
    result = await supervise(name, args, {
      graceMs,
      isolate: values.isolate === true,
      label: redaction()
        .redact([name, ...args].join(' '))
        .slice(0, 200),
      onStart(strength, missing) {
        if (strength === 'basic') {
          say(describeStrength({ strength, missing }))
        }
      },
    })
  } catch (error) {
    if (!(error instanceof IsolationError)) throw error
    say(`cannot isolate the command: ${error.message}. Without --isolate it is supervised, not isolated`)
    process.exitCode = FAILED
    return
  }
  const { code, problem, left } = result
  if (problem !== null) say(problem)
  if (values.json) process.stderr.write(`${JSON.stringify(record(result))}\n`)
  else report([name, ...args].join(' '), result)
  process.exitCode = code === 0 && left.length > 0 ? 1 : code
}

function record({ code, signal, strength, ended, left, kept }: SuperviseResult): object {
  const { redact } = redaction()
  const plain = <T extends { command: string }>(one: T): T => ({ ...one, command: redact(one.command) })
  return {
    harrow: 'exec',
    code,
    signal,
    strength,
    ended: ended.map(plain),
    left: left.map(plain),
    kept: kept.map(plain),
  }
}

function report(line: string, { ended, left, kept }: SuperviseResult): void {
  const { redact } = redaction()
  const rows: string[] = []
  if (ended.length > 0) {
    rows.push(`harrow exec: ended ${count(ended.length)} that \`${oneLine(redact(line))}\` left behind`)
    for (const one of ended.slice(0, MOST_LINES)) rows.push(`  ${describe(one)}  ${redact(one.command)}`)
    if (ended.length > MOST_LINES) rows.push(`  and ${ended.length - MOST_LINES} more`)
  }
  for (const one of left) rows.push(`harrow exec: process ${one.pid} ${one.reason} (${redact(one.command)})`)
  for (const one of kept)
    rows.push(`harrow exec: left process ${one.pid} alone, it ${one.reason} (${redact(one.command)})`)
  if (rows.length > 0) process.stderr.write(`${rows.join('\n')}\n`)
}

function oneLine(text: string): string {
  return shorten(text.replace(/\s+/g, ' ').trim(), LONGEST_COMMAND)
}

function describe({ pid, ageMs, signal }: EndedBelow): string {
  return `${String(pid).padStart(7)}  ${age(ageMs).padStart(8)}  ${signal}`
}

function age(ms: number | null): string {
  if (ms === null) return '?'
  const seconds = ms / 1000
  if (seconds < 100) return `${seconds.toFixed(1)} s`
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

function count(n: number): string {
  return n === 1 ? '1 process' : `${n} processes`
}

function redaction(): { redact(text: string): string } {
  const redactor = new Redactor()
  return { redact: (text) => redactor.text(text) }
}

function say(text: string): void {
  process.stderr.write(`harrow exec: ${text}\n`)
}
