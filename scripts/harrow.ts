#!/usr/bin/env node
/** The command `harrow`: finds the verb and sets the exit code (0 fine, 1 failure, 2 wrong usage). */
import { readFileSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import { defineCommand, renderUsage } from 'citty'
import { isHarrowError, UsageError } from '../src/errors.ts'
import type { Verb } from './verb.ts'

/** Loaded one by one: `harrow exec` stands before every test run and must start at once. */
const VERBS: Record<string, () => Promise<Verb>> = {
  dump: async () => (await import('./dump.ts')).dump,
  reap: async () => (await import('./reap.ts')).reap,
  ptree: async () => (await import('./ptree.ts')).ptree,
  preflight: async () => (await import('./preflight.ts')).preflight,
  exec: async () => (await import('./exec.ts')).exec,
  test: async () => (await import('./test.ts')).test,
}

/** citty's own dispatch is not used: it ends the process in the middle of a write. */
async function mainUsage(): Promise<string> {
  const verbs = Object.entries(VERBS).map(async ([name, load]) => {
    const { description } = await load()
    return [name, { meta: { name, description } }]
  })
  const main = defineCommand({
    meta: { name: 'harrow', version: version(), description: 'Hang triage for vitest and Node.js' },
    args: {
      help: { type: 'boolean', description: 'Print this text, or that of a command' },
      version: { type: 'boolean', description: 'Print the version' },
    },
    subCommands: Object.fromEntries(await Promise.all(verbs)),
  })
  return renderUsage(main)
}

/** `package.json` lies one folder above in a checkout, two above in the built package. */
function version(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const json = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as Record<string, unknown>
      if (json.name === 'harrow' && typeof json.version === 'string') return json.version
    } catch {
      // Not there: the other one is.
    }
  }
  return 'unknown'
}

/** citty colours its texts wherever they go. */
function plain(text: string, stream: NodeJS.WriteStream): string {
  return stream.isTTY ? text : stripVTControlCharacters(text).replace(/ +$/gm, '')
}

async function run(args: string[]): Promise<void> {
  const at = args.findIndex((arg) => !arg.startsWith('-'))
  const name = args[at]
  const verb = name !== undefined && Object.hasOwn(VERBS, name) ? await VERBS[name]?.() : undefined
  const flags = verb === undefined ? args : args.slice(at + 1)
  const own = flags.includes('--') ? flags.slice(0, flags.indexOf('--')) : flags
  if (own.includes('--help') || own.includes('-h')) {
    process.stdout.write(`${plain(await (verb?.usage() ?? mainUsage()), process.stdout)}\n`)
    return
  }
  if (name === undefined && (own.includes('--version') || own.includes('-v'))) {
    process.stdout.write(`${version()}\n`)
    return
  }
  if (verb === undefined) {
    const problem = name === undefined ? 'no command given' : `unknown command ${JSON.stringify(name)}`
    throw new UsageError(`${problem}\n\n${plain(await mainUsage(), process.stderr)}`)
  }
  await verb.run(flags)
}

// `harrow dump FILE | head` closes the pipe early, which is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

try {
  await run(process.argv.slice(2))
} catch (error) {
  const { name, message, stack } = error as Error
  const usage = (isHarrowError(error) && error.code === 'HARROW_USAGE') || name === 'CLIError'
  process.stderr.write(`harrow: ${usage ? message : (stack ?? String(error))}\n`)
  process.exitCode = usage ? 2 : 1
}
