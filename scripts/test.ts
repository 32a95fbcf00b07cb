/** `harrow test`: vitest with the options that it refuses itself, and a suite run many times over. */
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { logLevelProblem } from '../harness/backend.ts'
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

  that of vitest; with --hammer 0 when all runs passed, 1 when one failed; 2 wrong usage`

/** One run of a hammer takes at most so long. */
const RUN_MS = 30 * 60_000

export const test: Verb = {
  description: DESCRIPTION,
  usage: async () => `${(await usageText('test', DESCRIPTION, OPTIONS)).trimEnd()}\n\n${NOTES}\n`,
  run: async (args) => {
    const { own, rest } = split(args)
    const problem = logLevelProblem('--ll', own.ll)
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
      process.exitCode = signal ? 1 : (code ?? 1)
      return
    }
    const times = readNumber('--hammer', own.hammer, 1, 10_000)
    const streams = readNumber('--streams', own.streams ?? '1', 1, 64)
    await hammer(times, streams, rest, env, own.json !== undefined)
  },
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

const running = new Set<ChildProcess>()

function runVitest(args: string[], env: NodeJS.ProcessEnv, stdio: 'inherit' | 'pipe'): Promise<RunResult> {
  const verb = args.some((arg) => /^(run|watch|dev|list|bench)$/.test(arg)) ? [] : ['run']
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [vitestPath(), ...verb, ...args], {
      env,
      stdio: stdio === 'inherit' ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    })
    running.add(child)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS)
    // Ctrl-C reaches it by itself, and it ends its tests in order; we wait for that.
    const ignore = (): void => {}
    process.on('SIGINT', ignore)
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      running.delete(child)
      clearTimeout(timer)
      process.removeListener('SIGINT', ignore)
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
  const failures: { run: number; code: number | null; signal: string | null; output: string }[] = []
  const lane = async (): Promise<void> => {
    while (next < times) {
      const run = ++next
      const { code, signal, output } = await runVitest(args, { ...env, HARROW_HAMMER: String(run) }, 'pipe')
      if (code !== 0) failures.push({ run, code, signal, output: save(run, output) })
      const line = `run ${run} of ${times}`
      if (!json) print([`${code === 0 ? colors.green('ok  ') : colors.red('bad ')} ${line}`])
      // What is read by a program has its progress beside it.
      else process.stderr.write(`${code === 0 ? 'ok  ' : 'bad '} ${line}\n`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(streams, times) }, lane))
  const rate = failures.length / times
  if (json) printJson({ format: 1, runs: times, streams, failed: failures.length, rate, failures })
  else {
    const first = failures[0]
    print([
      `${failures.length} of ${times} runs failed (${(100 * rate).toFixed(1)} %), ${streams} at once`,
      ...(first ? [`first: run ${first.run}, ${first.output}`] : []),
    ])
  }
  process.exitCode = failures.length > 0 ? 1 : 0
}

/** @returns where the output of a failed run lies */
function save(run: number, output: string): string {
  const folder = join('.harrow', 'hammer')
  makeFolder(folder, 0o700)
  const path = join(folder, `${process.pid}.${run}.txt`)
  writeFileSync(path, output, { mode: 0o600 })
  return path
}
