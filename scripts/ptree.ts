/** `harrow ptree [PID]`: the processes of all harrow runs, or below one process, with what is wrong with each. */
import { Redactor } from '../src/dump/redact.ts'
import { UsageError } from '../src/errors.ts'
import { monotonic, pause } from '../src/process/clean.ts'
import { stateWords } from '../src/process/descriptors.ts'
import { childrenByParent, listingSource, listProcesses, type ProcessRow } from '../src/process/list.ts'
import { type Severity, severityOf } from '../src/process/severity.ts'
import { RUNAWAY_PERCENT, usageOf } from '../src/process/usage.ts'
import { readStarts, type StartNote } from '../src/reap/starts.ts'
import { type RunSurvey, surveyRuns } from '../src/reap/survey.ts'
import { ageWords, type Cell, colors, count, plain, print, printJson, sizeWords, table } from './screen.ts'
import { readArgs, readNumber, usageText, type Verb } from './verb.ts'

const DESCRIPTION = 'Show the processes of all harrow runs, or below one process, and what is wrong with each'
const OPTIONS = {
  runaway: {
    type: 'string',
    valueHint: 'PERCENT',
    description: `Share of a CPU from which on it is a runaway (default ${RUNAWAY_PERCENT})`,
  },
  json: { type: 'boolean', description: 'Print the result as JSON' },
} as const
const CODES = `SEVERITY

  zombie   dead, and its parent does not wait for it
  orphan   its run is dead, or it was adopted by another process than started it
  runaway  uses more than ${RUNAWAY_PERCENT} % of a CPU, or what --runaway says

EXIT CODES

  0 all is well; 1 there is a zombie, an orphan or a runaway; 2 wrong usage`

const SAMPLE_MS = 100
/** A main process waits 2 s before it collects what somebody else could be waiting for (src/reap/kin.ts). */
const COLLECTED_MS = 2500

export const ptree: Verb = {
  description: DESCRIPTION,
  usage: async () => {
    const pid = { name: 'pid', description: 'Root of the tree (default: all runs and what carries their marks)' }
    return `${(await usageText('ptree', DESCRIPTION, OPTIONS, pid)).trimEnd()}\n\n${CODES}\n`
  },
  run: async (args) => {
    const { values, positionals } = readArgs(args, OPTIONS, 1)
    const [text] = positionals
    const root = text === undefined ? undefined : readNumber('PID', text, 1, 2 ** 31 - 1)
    const { runaway } = values
    const limit = runaway === undefined ? RUNAWAY_PERCENT : readNumber('--runaway', runaway, 1, 100_000)
    const forest = await look(root, limit)
    if (values.json) printJson({ format: 1, ...forest })
    else print(report(forest))
    process.exitCode = forest.processes.some(({ severity }) => severity !== 'live') ? 1 : 0
  },
}

/** A line of the tree. */
interface Node {
  pid: number
  ppid: number
  /** Steps below its root. */
  depth: number
  severity: Severity
  state: string
  cpuPercent: number | null
  rssBytes: number | null
  ageMs: number | null
  command: string
  /** Run that it belongs to. */
  run: string | null
  /** `main`, `worker 3`, `below worker 3`, `keep`. */
  role: string | null
  /** The test or hook that started it, or the process that led to it. */
  startedBy: StartNote | null
  /** What a reader should know: who does not wait, how to look into it. */
  note: string | null
}

interface Forest {
  /** Runs that have a process here. */
  runs: { id: string; label: string; status: RunSurvey['status']; mainPid: number | null }[]
  /** Each parent before its children. */
  processes: Node[]
  notes: string[]
}

async function look(root: number | undefined, runawayPercent: number): Promise<Forest> {
  const source = listingSource()
  // Dead at both looks: a process that has just ended is a zombie for an instant everywhere.
  const before = await listProcesses()
  if (root !== undefined && !before.some(({ pid }) => pid === root)) {
    throw new UsageError(`there is no process ${root}${source.strength === 'none' ? ` (${source.note})` : ''}`)
  }
  const first = selectRows(before, root, surveyRuns(before).runs)
  const usage = await usageOf(
    first.map(({ pid }) => pid),
    SAMPLE_MS,
  )
  const { rows, runs } = await afterCollection(root)
  const zombies = new Set(before.filter(({ state }) => state === 'Z').map(keyOf))
  const chosen = selectRows(rows, root, runs).filter((row) => row.state !== 'Z' || zombies.has(keyOf(row)))
  const memberships = membershipsOf(rows, runs)
  const byId = new Map(runs.map((run) => [run.id, run]))
  const around = {
    mainOf: (id: string) => {
      const run = byId.get(id)
      return run?.main ? { id: run.main, alive: run.status === 'main-lives' } : undefined
    },
    runOf: (pid: number) => memberships.get(pid) ?? null,
    cpuOf: (pid: number) => usage.get(pid)?.cpuPercent,
    runawayPercent,
  }
  const starts = new Map<string, Map<string, StartNote>>()
  const startsOf = (id: string): Map<string, StartNote> => {
    const temp = byId.get(id)?.state?.temp ?? null
    const known = starts.get(id) ?? (temp === null ? new Map<string, StartNote>() : readStarts(temp))
    starts.set(id, known)
    return known
  }
  const names = new Map(rows.map(({ pid, command }) => [pid, command]))
  const processes = inTreeOrder(chosen).map(({ row, depth }): Node => {
    const severity = severityOf(row, around)
    const cpuPercent = usage.get(row.pid)?.cpuPercent ?? null
    const run = memberships.get(row.pid) ?? null
    return {
      pid: row.pid,
      ppid: row.ppid,
      depth,
      severity,
      state: row.state,
      cpuPercent,
      rssBytes: row.rssBytes ?? usage.get(row.pid)?.rssBytes ?? null,
      ageMs: row.ageMs,
      command: redactor.text(row.command),
      run,
      role: roleOf(row, run === null ? undefined : byId.get(run)),
      startedBy: (run !== null && row.marks?.member && startsOf(run).get(row.marks.member)) || null,
      note: noteOn(row, (cpuPercent ?? 0) > runawayPercent, names),
    }
  })
  const seen = new Set(processes.map(({ run }) => run))
  return {
    runs: runs
      .filter(({ id }) => seen.has(id))
      .map(({ id, label, status, main }) => ({ id, label, status, mainPid: main?.pid ?? null })),
    processes,
    notes: source.note === null ? [] : [source.note],
  }
}

const redactor = new Redactor()

/** `test/a.test.ts > starts a server` */
function startedBy({ test, file }: StartNote): string {
  return [file, test].filter(Boolean).join(' > ')
}

/** All processes, when the main processes of living runs have collected the dead that they have adopted. */
async function afterCollection(root: number | undefined): Promise<{ rows: ProcessRow[]; runs: RunSurvey[] }> {
  const deadline = monotonic() + COLLECTED_MS
  for (;;) {
    const rows = await listProcesses()
    const { runs } = surveyRuns(rows)
    const collecting = new Set(runs.filter(collects).map(({ main }) => main?.pid))
    const waits = selectRows(rows, root, runs).some(({ state, ppid }) => state === 'Z' && collecting.has(ppid))
    if (!waits || monotonic() > deadline) return { rows, runs }
    await pause(SAMPLE_MS)
  }
}

function collects({ status, state }: RunSurvey): boolean {
  return status === 'main-lives' && state !== null && state.strength !== 'basic'
}

function keyOf({ pid, id }: ProcessRow): string {
  return `${pid} ${id?.start}`
}

/** Run by pid: by the process's own mark first, for a nested run's processes descend from the outer run too. */
function membershipsOf(rows: ProcessRow[], runs: RunSurvey[]): Map<number, string> {
  const ids = new Set(runs.map(({ id }) => id))
  const found = new Map<number, string>()
  for (const { id, status, main, members } of runs) {
    for (const { pid } of members) if (!found.has(pid)) found.set(pid, id)
    if (main && status === 'main-lives') found.set(main.pid, id)
  }
  const mains = new Set(runs.flatMap(({ main, status }) => (main && status === 'main-lives' ? [main.pid] : [])))
  const own = process.getuid?.() ?? null
  for (const { pid, uid, marks } of rows) {
    if (marks && ids.has(marks.run) && uid === own && !mains.has(pid)) found.set(pid, marks.run)
  }
  return found
}

/** The tree below `root`; without one, all runs with the zombies that their processes do not wait for. */
function selectRows(rows: ProcessRow[], root: number | undefined, runs: RunSurvey[]): ProcessRow[] {
  if (root !== undefined) {
    const children = childrenByParent(rows)
    const found = new Set(rows.filter(({ pid }) => pid === root))
    // A set is walked in the order of its growth.
    for (const { pid } of found) for (const child of children.get(pid) ?? []) found.add(child)
    return [...found].filter(({ pid }) => pid === root || pid !== process.pid)
  }
  const ours = membershipsOf(rows, runs)
  return rows.filter(({ pid, ppid, state, marks, uid }) => {
    if (pid === process.pid) return false
    const kept = marks?.run === 'keep' && uid === (process.getuid?.() ?? null)
    return ours.has(pid) || kept || (state === 'Z' && ours.has(ppid))
  })
}

function inTreeOrder(rows: ProcessRow[]): { row: ProcessRow; depth: number }[] {
  const children = childrenByParent(rows)
  const inside = new Set(rows.map(({ pid }) => pid))
  const ordered: { row: ProcessRow; depth: number }[] = []
  const left = new Set(rows)
  const visit = (row: ProcessRow, depth: number): void => {
    if (!left.delete(row)) return
    ordered.push({ row, depth })
    for (const child of children.get(row.pid) ?? []) visit(child, depth + 1)
  }
  for (const row of rows) if (!inside.has(row.ppid)) visit(row, 0)
  // A table read while processes come and go can hold a cycle.
  for (const row of rows) visit(row, 0)
  return ordered
}

function roleOf({ pid, id, marks }: ProcessRow, run: RunSurvey | undefined): string | null {
  if (run?.main && run.main.pid === pid && run.main.start === id?.start) return 'main'
  if (marks?.run === 'keep') return 'keep'
  // `<run>.<worker>`, and for what a test started `<run>.<worker>.<n>`.
  const worker = marks?.member?.startsWith(`${marks.run}.`)
    ? marks.member.slice(marks.run.length + 1).split('.')[0]
    : ''
  if (!worker) return null
  return marks?.worker ? `worker ${worker}` : `below worker ${worker}`
}

function noteOn({ pid, ppid, state }: ProcessRow, busy: boolean, names: Map<number, string>): string | null {
  if (state === 'Z') return `parent ${ppid} \`${redactor.text(names.get(ppid) ?? '?')}\` does not wait for it`
  if (!busy) return null
  if (process.platform !== 'linux') return `look: ps -M -p ${pid}   end: kill ${pid}`
  return `look: top -H -p ${pid}   strace -c -f -p ${pid}   perf top -p ${pid}   end: kill ${pid}`
}

function report({ runs, processes, notes }: Forest): string[] {
  const lines = runs.map(({ id, label, status, mainPid }) => {
    const main = mainPid === null ? 'main process unknown' : `main process ${mainPid} ${mainWords(status)}`
    return `${colors.bold(`run ${plain(id)}`)}${label ? ` ${plain(label)}` : ''}, ${main}`
  })
  if (processes.length === 0) lines.push('no process of a harrow run is there')
  else lines.push(...treeTable(processes))
  for (const { pid, severity, note } of processes) {
    if (note !== null) lines.push(plain(`${severity} ${pid}: ${note}`))
  }
  const bad = (['zombie', 'orphan', 'runaway'] as const).flatMap((severity) => {
    const number = processes.filter((one) => one.severity === severity).length
    return number === 0 ? [] : [count(number, severity)]
  })
  if (bad.length > 0) lines.push(colors.yellow(bad.join(', ')))
  const dead = runs.filter(({ status }) => status === 'abandoned')
  if (dead.length > 0) lines.push(`end what dead runs left: npx harrow reap --yes`)
  return [...lines, ...notes.map((note) => colors.dim(`note: ${plain(note)}`))]
}

function mainWords(status: RunSurvey['status']): string {
  if (status === 'main-lives') return 'lives'
  if (status === 'other-namespace') return 'cannot be seen from here'
  return status === 'sidecar-lives' ? 'is dead, a sidecar is ending the rest' : 'is dead'
}

function treeTable(processes: Node[]): string[] {
  const rows = processes.map((one): Cell[] => [
    String(one.pid),
    { text: one.severity, paint: paintOf(one.severity) },
    one.state === '?' ? '?' : stateWords(one.state),
    one.cpuPercent === null ? '?' : `${one.cpuPercent} %`,
    sizeWords(one.rssBytes),
    ageWords(one.ageMs),
    [one.run, one.role, one.startedBy && `(${plain(startedBy(one.startedBy))})`].filter(Boolean).join(' '),
    `${'  '.repeat(Math.min(one.depth, 20))}${one.command}`,
  ])
  return table(['>PID', 'SEVERITY', 'STATE', '>CPU', '>MEMORY', '>AGE', 'RUN', 'COMMAND'], rows)
}

function paintOf(severity: Severity): (text: string) => string {
  if (severity === 'live') return (text) => text
  return severity === 'runaway' ? colors.yellow : colors.red
}
