/** `harrow test`: vitest with the options that it refuses itself, and a suite run many times over (R-701, R-729). */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { gate, logLevelProblem } from '../harness/backend.ts'
import { UsageError } from '../src/errors.ts'
import { makeFolder } from '../src/process/make-folder.ts'
import { colors, print, printJson } from './screen.ts'
import { readNumber, usageText, type Verb } from './verb.ts'

const DESCRIPTION = 'Run vitest on a backend, or a selection of it many times over'
const OPTIONS = {
  backend: { type: 'string', valueHint: 'NAME', description: 'Backend of the actors, as HARROW_BACKEND' },
  transport: { type: 'string', valueHint: 'uds|tcp', description: 'Transport between actors, as HARROW_TRANSPORT' },
  ll: { type: 'string', valueHint: 'LEVEL', description: 'Log level of the runtime, as HARROW_LOGLEVEL' },
  hammer: { type: 'string', valueHint: 'N', description: 'Run the selection N times, and tell how often it failed' },
  streams: { type: 'string', valueHint: 'K', description: 'So many of them at once (default 1)' },
  json: { type: 'boolean', description: 'Print the result of --hammer as JSON' },
} as const
const NOTES = `All other arguments go to vitest: harrow test --backend thread test/a.test.ts -t "one test"

EXIT CODES

  that of vitest; with --hammer 0 when all runs passed, 1 when one failed; 2 wrong usage; 128 + n ended by signal n`

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** One run of a hammer takes at most so long. */
const RUN_MS = 30 * 60_000

export const test: Verb = {
  description: DESCRIPTION,
  usage: async () => `${(await usageText('test', DESCRIPTION, OPTIONS)).trimEnd()}\n\n${NOTES}\n`,
  run: async (args) => {
    const { own, rest } = split(args)
    // Here as well as in the plugin, which a project need not have.
    const problem =
      logLevelProblem('--ll', own.ll) ??
      transportProblem(own.transport) ??
      (own.backend === undefined ? undefined : await gate(own.backend))
    if (problem !== undefined) throw new UsageError(problem)
    const env = {
      ...process.env,
      ...(own.backend !== undefined && { HARROW_BACKEND: own.backend }),
      ...(own.transport !== undefined && { HARROW_TRANSPORT: own.transport }),
      ...(own.ll !== undefined && { HARROW_LOGLEVEL: own.ll }),
    }
    if (own.hammer === undefined) {
      if (own.streams !== undefined || own.json !== undefined)
        throw new UsageError('--streams and --json go with --hammer')
      const { code, signal } = await runVitest(rest, env, 'inherit')
      process.exitCode = signal ? 128 + signals[signal] : (code ?? 1)
      return
    }
    const times = readNumber('--hammer', own.hammer, 1, 10_000)
    const streams = readNumber('--streams', own.streams ?? '1', 1, 64)
    await hammer(times, streams, rest, env, own.json !== undefined)
  },
}

function transportProblem(transport: string | undefined): string | undefined {
  if (transport === undefined || transport === 'uds' || transport === 'tcp') return undefined
  return `--transport expects uds or tcp, got ${JSON.stringify(transport)}`
}

/** Our options, and what is left for vitest, which may be anything. */
function split(args: string[]): { own: Partial<Record<keyof typeof OPTIONS, string>>; rest: string[] } {
  const own: Partial<Record<keyof typeof OPTIONS, string>> = {}
  const rest: string[] = []
  for (let i = 0; i < args.length; i++) {
    const [, name = '', joined] = /^--([a-z]+)(?:=(.*))?$/s.exec(args[i]!) ?? []
    if (!Object.hasOwn(OPTIONS, name)) rest.push(args[i]!)
    else if (OPTIONS[name as keyof typeof OPTIONS].type === 'boolean') own[name as keyof typeof OPTIONS] = ''
    else {
      const value = joined ?? args[++i]
      if (value === undefined || value === '') throw new UsageError(`--${name} expects a value`)
      own[name as keyof typeof OPTIONS] = value
    }
  }
  return { own, rest }
}

/** vitest of the project that we stand in. */
function vitestPath(): string {
  try {
    const path = createRequire(join(process.cwd(), 'package.json')).resolve('vitest/package.json')
    return join(dirname(path), 'vitest.mjs')
  } catch {
    throw new UsageError(`vitest is not installed here (${process.cwd()}): npm install -D vitest`)
  }
}

interface RunResult {
  code: number | null
  signal: NodeJS.Signals | null
  output: string
}

const { signals } = constants
/** The signal that asked us to end; no further run is started. */
let ended: NodeJS.Signals | undefined

function runVitest(args: string[], env: NodeJS.ProcessEnv, stdio: 'inherit' | 'pipe'): Promise<RunResult> {
  const verb = args.some((arg) => /^(run|watch|dev|list|bench)$/.test(arg)) ? [] : ['run']
  return new Promise((resolve, reject) => {
    // Before there is anything to end: a signal without a listener would leave vitest behind.
    for (const signal of ENDING) process.on(signal, end)
    const child = spawn(process.execPath, [vitestPath(), ...verb, ...args], {
      env,
      stdio: stdio === 'inherit' ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS)
    function end(signal: NodeJS.Signals): void {
      ended = signal
      // Ctrl-C reaches it by itself, and it ends its tests in order; we wait for that.
      if (signal !== 'SIGINT') child.kill(signal)
    }
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      for (const one of ENDING) process.removeListener(one, end)
      resolve({ code, signal, output })
    })
  })
}

async function hammer(
  times: number,
  streams: number,
  args: string[],
  env: NodeJS.ProcessEnv,
  json: boolean,
): Promise<void> {
  let next = 0
  let done = 0
  const failures: { run: number; code: number | null; signal: string | null; output: string }[] = []
  const lane = async (): Promise<void> => {
    while (next < times && ended === undefined) {
      const run = ++next
      const { code, signal, output } = await runVitest(args, { ...env, HARROW_HAMMER: String(run) }, 'pipe')
      // It was interrupted, which says nothing of the suite.
      if (ended !== undefined) break
      done++
      if (code !== 0) failures.push({ run, code, signal, output: save(run, output) })
      const line = `run ${run} of ${times}`
      if (!json) print([`${code === 0 ? colors.green('ok  ') : colors.red('bad ')} ${line}`])
      // What is read by a program has its progress beside it.
      else process.stderr.write(`${code === 0 ? 'ok  ' : 'bad '} ${line}\n`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(streams, times) }, lane))
  const rate = done === 0 ? 0 : failures.length / done
  if (json) printJson({ format: 1, runs: done, streams, failed: failures.length, rate, failures })
  else {
    const first = failures[0]
    print([
      `${failures.length} of ${done} runs failed (${(100 * rate).toFixed(1)} %), ${streams} at once${ended === undefined ? '' : `; ended by ${ended} after ${done} of ${times}`}`,
      ...(first ? [`first: run ${first.run}, ${first.output}`] : []),
    ])
  }
  if (ended !== undefined) process.exitCode = 128 + signals[ended]
  else process.exitCode = failures.length > 0 ? 1 : 0
}

/** @returns where the output of a failed run lies */
function save(run: number, output: string): string {
  const folder = join('.harrow', 'hammer')
  makeFolder(folder, 0o700)
  const path = join(folder, `${process.pid}.${run}.txt`)
  writeFileSync(path, output, { mode: 0o600 })
  return path
}
