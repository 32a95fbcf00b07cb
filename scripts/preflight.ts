/** `harrow preflight`: is this machine in a state in which a test run can be trusted? */

import {
  type Check,
  checkCpu,
  checkLeftovers,
  checkPort,
  checkSharedMemory,
  checkSockets,
  checkStrength,
} from './checks.ts'
import { colors, plain, print, printJson } from './screen.ts'
import { readArgs, readNumber, usageText, type Verb } from './verb.ts'

const DESCRIPTION = 'Check ports, leftovers of earlier runs and the machine before a test run'
const OPTIONS = {
  port: {
    type: 'string',
    multiple: true,
    valueHint: 'N',
    description: 'A TCP port that must be free; can be repeated',
  },
  strict: { type: 'boolean', description: 'Warnings count as findings' },
  json: { type: 'boolean', description: 'Print the result as JSON' },
} as const
const CODES = `EXIT CODES

  0 clean, perhaps with warnings (a busy or throttled CPU, a lower strength); 1 findings; 2 wrong usage`

export const preflight: Verb = {
  description: DESCRIPTION,
  usage: async () => `${(await usageText('preflight', DESCRIPTION, OPTIONS)).trimEnd()}\n\n${CODES}\n`,
  run: async (args) => {
    const { values } = readArgs(args, OPTIONS)
    const ports = [...new Set((values.port ?? []).map((text) => readNumber('--port', text, 1, 65_535)))]
    const checks = [
      ...(await Promise.all(ports.map(checkPort))),
      ...(await checkLeftovers()),
      await checkSockets(),
      checkSharedMemory(),
      ...(await checkCpu()),
      checkStrength(),
    ]
    const findings = checks.filter(({ level }) => level === 'bad' || (values.strict && level === 'warn')).length
    if (values.json) printJson({ format: 1, findings, checks })
    else print(report(checks, findings))
    process.exitCode = findings > 0 ? 1 : 0
  },
}

const MARKS = { ok: colors.green('ok  '), warn: colors.yellow('warn'), bad: colors.red('bad ') } as const

function report(checks: Check[], findings: number): string[] {
  const lines = checks.flatMap(({ level, what, words, fix }) => {
    const line = `${MARKS[level]}  ${what.padEnd(10)}  ${plain(words)}`
    return fix === null ? [line] : [line, colors.dim(`${' '.repeat(18)}fix: ${plain(fix)}`)]
  })
  return [...lines, findings === 0 ? 'clean' : `${findings} to mend`]
}
