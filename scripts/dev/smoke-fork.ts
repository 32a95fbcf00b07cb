// npm run smoke:fork: which forks of a Node process are sound, without a line of harrow. --scenario NAME (else all), --help.
// Exit code 0: each scenario had the outcome that is expected of it, also those that must fail.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

interface Scenario {
  what: string
  /** Node flags of the process that forks. */
  flags: string[]
  args?: string[]
  /** @returns what is wrong with this outcome */
  judge(outcome: Outcome): string | undefined
}
interface Outcome {
  /** How the children ended, with how many of each: `code 0`, `signal 11`, `hang`. */
  ends: Record<string, number>
  notes: string[]
}

const SINGLE = ['--single-threaded', '--expose-gc']
const only =
  (...allowed: string[]) =>
  ({ ends }: Outcome): string | undefined => {
    const other = Object.keys(ends).filter((end) => !allowed.includes(end))
    return other.length > 0 || Object.keys(ends).length === 0 ? `expected only ${allowed.join(', ')}` : undefined
  }
const bad = ({ ends }: Outcome): number =>
  Object.entries(ends).reduce((n, [end, of]) => n + (end === 'code 0' ? 0 : of), 0)

const SCENARIOS: Record<string, Scenario> = {
  control: {
    what: 'fork(2) from a worker thread must fail: the child has no main thread, which answers no message',
    flags: ['--expose-gc'],
    judge: (outcome) => (outcome.ends['code 0'] ? 'a child without a main thread worked' : undefined),
  },
  'main-thread': {
    what: 'fork(2) of an ordinary, multi-threaded Node is unsound: its end waits for threads that are not there',
    flags: ['--expose-gc'],
    args: ['6'],
    judge: (outcome) => (bad(outcome) === 0 ? 'all children worked and ended in order' : undefined),
  },
  'single-threaded': {
    what: 'fork(2) of a quiet `node --single-threaded` works: timers, files, sockets, crypto, programs, gc',
    flags: SINGLE,
    args: ['20'],
    judge: only('code 0'),
  },
  zygote: {
    what: 'a warmed process that forks on request, each child with an exit path and a session of its own',
    flags: SINGLE,
    args: ['10'],
    judge: only('code 0', 'code 5', 'code 1', 'signal 9', 'signal 15'),
  },
  race: {
    what: 'a page that V8 maps between madvise and fork is missing in the child: at most 1 in 100 dies of that',
    flags: SINGLE,
    args: ['100'],
    judge: (outcome) => (bad(outcome) > 1 ? 'more than 1 in 100 died' : undefined),
  },
  'in-flight': {
    what: 'work of the thread pool under way at the fork: the quiet test sees it; what becomes of such a child is open',
    flags: SINGLE,
    args: ['6'],
    judge: ({ notes }) => (notes.includes('seen: true') ? undefined : 'the quiet test did not see it'),
  },
  nested: {
    what: 'a forked child forks, three deep',
    flags: SINGLE,
    judge: only('code 0'),
  },
}
const LIMIT_MS = 300_000

const { values } = parseArgs({ options: { scenario: { type: 'string' }, help: { type: 'boolean' } } })
if (values.help) {
  console.log('npm run smoke:fork -- [--scenario NAME]\n')
  for (const [name, { what }] of Object.entries(SCENARIOS)) console.log(`  ${name.padEnd(16)} ${what}`)
  process.exit(0)
}
const missing = unsupported()
if (missing) {
  console.log(`skipped: ${missing}`)
  process.exit(0)
}
const names = values.scenario === undefined ? Object.keys(SCENARIOS) : [values.scenario]
let failed = 0
for (const name of names) {
  const scenario = SCENARIOS[name]
  if (!scenario) {
    console.error(`there is no scenario "${name}". Valid names: ${Object.keys(SCENARIOS).join(', ')}.`)
    process.exit(2)
  }
  console.log(`\n== ${name}: ${scenario.what}`)
  const outcome = await run(name, scenario)
  const wrong = typeof outcome === 'string' ? outcome : scenario.judge(outcome)
  if (typeof outcome !== 'string') {
    const ends = Object.entries(outcome.ends).map(([end, n]) => `${end}: ${n}`)
    console.log(`   ${[...ends, ...outcome.notes].join(', ')}`)
  }
  console.log(wrong === undefined ? '   as expected' : `   NOT AS EXPECTED: ${wrong}`)
  if (wrong !== undefined) failed++
}
console.log(`\n${names.length - failed} of ${names.length} scenarios as expected (Node ${process.version})`)
process.exitCode = failed > 0 ? 1 : 0

function unsupported(): string | undefined {
  if (process.platform !== 'linux')
    return `fork(2) without exec is looked at on Linux only, this is ${process.platform}`
  try {
    createRequire(import.meta.url)('koffi')
  } catch {
    return 'the package koffi, which calls fork(2), is not installed'
  }
  return undefined
}

/** Runs the process that forks; whatever it leaves is in its process group and ends with it. */
async function run(name: string, { flags, args = [] }: Scenario): Promise<Outcome | string> {
  const program = fileURLToPath(new URL('./smoke-fork/program.ts', import.meta.url))
  const child = spawn(process.execPath, ['--no-warnings', ...flags, program, name, ...args], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  const endGroup = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL')
    } catch {
      // Nothing is left of it.
    }
  }
  const timer = setTimeout(endGroup, LIMIT_MS)
  const ended = await new Promise<string | undefined>((resolve) => {
    child.once('exit', (code, signal) => resolve(code === 0 ? undefined : `its process ended with ${signal ?? code}`))
  })
  clearTimeout(timer)
  endGroup()
  const line = out.split('\n').find((text) => text.startsWith('RESULT='))
  if (ended !== undefined || line === undefined) return ended ?? 'its process gave no result'
  return JSON.parse(line.slice('RESULT='.length)) as Outcome
}
