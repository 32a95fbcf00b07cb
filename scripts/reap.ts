/** `harrow reap`: lists what dead runs have left behind, and with `--yes` ends and removes it. */
import { tmpdir } from 'node:os'
import { Redactor } from '../src/dump/redact.ts'
import { UsageError } from '../src/errors.ts'
import { stateWords } from '../src/process/descriptors.ts'
import { identify } from '../src/process/identity.ts'
import { listingSource, listProcesses, type ProcessRow } from '../src/process/list.ts'
import { existingRuntimeDir } from '../src/process/runtime-dir.ts'
import { type Usage, usageOf } from '../src/process/usage.ts'
import { type Cleared, clearBelow, clearRun, findBelow, isNeverEnded, untilSidecarsEnd } from '../src/reap/clear.ts'
import type { EndedProcess } from '../src/reap/end.ts'
import { type Swept, sweepRuntimeDir, sweepShm, sweepSockets, sweepTemp } from '../src/reap/files.ts'
import type { Member, Spared } from '../src/reap/members.ts'
import { isSessionId } from '../src/reap/state.ts'
import { isAbandoned, type RunSurvey, surveyRuns } from '../src/reap/survey.ts'
import { ageWords, type Cell, colors, count, plain, print, printJson, table } from './screen.ts'
import { readArgs, readNumber, usageText, type Values, type Verb } from './verb.ts'

const DESCRIPTION = 'List what dead runs have left behind; with --yes, end and remove it'
const LONGEST_GRACE_MS = 3_600_000

const OPTIONS = {
  yes: { type: 'boolean', description: 'Do it; without, nothing is touched' },
  run: { type: 'string', valueHint: 'ID', description: 'Only this run' },
  parent: { type: 'string', valueHint: 'PID', description: 'Instead: everything below this living process' },
  sockets: { type: 'boolean', description: 'Only socket files whose creator is dead' },
  shm: { type: 'boolean', description: 'Only /dev/shm, also files of no run that nobody uses' },
  all: { type: 'boolean', description: 'Processes, temp folders, sockets, and /dev/shm as with --shm' },
  grace: { type: 'string', valueHint: 'MS', description: 'Time between SIGTERM and SIGKILL (default 1000)' },
  json: { type: 'boolean', description: 'Print the result as JSON' },
} as const

const CODES = `EXIT CODES

  0 there was nothing to do, or nothing is left; 1 something was found (without --yes) or could not be ended; 2 wrong usage`

export const reap: Verb = {
  description: DESCRIPTION,
  usage: async () => `${(await usageText('reap', DESCRIPTION, OPTIONS)).trimEnd()}\n\n${CODES}\n`,
  run: async (args) => {
    const { values } = readArgs(args, OPTIONS)
    const result = await work(planOf(values))
    if (values.json) printJson(record(result))
    else print(report(result))
    process.exitCode = exitCode(result)
  },
}

interface Plan {
  dryRun: boolean
  graceMs: number | undefined
  run: string | undefined
  parent: number | undefined
  what: { processes: boolean; sockets: boolean; shm: boolean; foreignShm: boolean }
}

function planOf({ yes, run, parent, sockets, shm, all, grace }: Values<typeof OPTIONS>): Plan {
  if (run !== undefined && parent !== undefined) throw new UsageError('expected --run or --parent, got both')
  if (parent !== undefined && (sockets || shm || all)) {
    throw new UsageError('--parent is about processes only: leave out --sockets, --shm and --all')
  }
  if (run !== undefined && !isSessionId(run))
    throw new UsageError(`--run expects the id of a run, got ${JSON.stringify(run)}`)
  const alone = (sockets || shm) && !all
  return {
    dryRun: !yes,
    graceMs: grace === undefined ? undefined : readNumber('--grace', grace, 0, LONGEST_GRACE_MS),
    run,
    parent: parent === undefined ? undefined : readNumber('--parent', parent, 1, 2 ** 31 - 1),
    what: {
      processes: !alone,
      // A socket file does not tell its run.
      sockets: parent === undefined && (sockets === true || (!alone && run === undefined)),
      shm: parent === undefined && (shm === true || !alone),
      foreignShm: run === undefined && (shm === true || all === true),
    },
  }
}

/** A process with what a table says about it. */
interface Shown {
  pid: number
  ageMs: number | null
  state: string
  cpuPercent: number | null
  command: string
  proof: string
}

interface RunResult extends Partial<Cleared> {
  id: string
  label: string
  status: RunSurvey['status'] | 'abandoned by its mark'
  mainPid: number | null
  /** Will be, or was, ended. */
  dead: boolean
  /** There is a session file. */
  file: boolean
  processes: Shown[]
}

interface Result {
  plan: Plan
  /** With `--parent`, one that stands for its descendants. */
  runs: RunResult[]
  temp: Swept
  sockets: Swept
  /** In the runtime folder. */
  actors: Swept
  shm: Swept
  notes: string[]
}

async function work(plan: Plan): Promise<Result> {
  const source = listingSource()
  const notes = source.note === null ? [] : [source.note]
  const none: Swept = { removed: [], kept: [] }
  const result: Result = { plan, runs: [], temp: none, sockets: none, actors: none, shm: none, notes }
  if (plan.parent !== undefined) {
    result.runs.push(await workBelow(plan, plan.parent))
    return result
  }
  const runs = await survey(plan, notes)
  if (plan.what.processes) {
    for (const run of runs.filter(isDead)) result.runs.push(await workRun(plan, run))
    for (const run of runs.filter((one) => !isDead(one))) result.runs.push(untouched(run))
    // A living binder of a socket, or user of a folder, is no orphan: files go after the processes.
    const busy = new Set(result.runs.filter(({ dead, left }) => !dead || left?.length).map(({ id }) => id))
    result.temp = sweepTemp({
      dryRun: plan.dryRun,
      keep: busy,
      ...(plan.run !== undefined && { runs: new Set([plan.run]) }),
    })
  }
  if (plan.what.sockets) {
    result.sockets = await sweepSockets(tmpdir(), plan)
    result.actors = await sweepActors(plan)
  }
  if (plan.what.shm) {
    const known = runs.map((run) => ({ id: run.id, alive: !isDead(run) }))
    const { unsupported, ...swept } = sweepShm({ dryRun: plan.dryRun, runs: known, foreign: plan.what.foreignShm })
    result.shm = swept
    if (unsupported !== null) notes.push(unsupported)
  }
  return result
}

/** What dead trees of actors have left in the folder that they share. */
async function sweepActors(plan: Plan): Promise<Swept> {
  const folder = existingRuntimeDir()
  return folder === undefined ? { removed: [], kept: [] } : await sweepRuntimeDir(folder, plan)
}

async function survey(plan: Plan, notes: string[]): Promise<RunSurvey[]> {
  const look = async (): Promise<RunSurvey[]> => {
    const rows = await listProcesses()
    const { runs, bad } = surveyRuns(rows)
    notes.splice(0, notes.length, ...bad.map(({ path, reason }) => `${path} ${reason}`))
    const wanted = plan.run === undefined ? runs : runs.filter(({ id }) => id === plan.run)
    // Somebody named this run: that no process of it has a living parent outside is enough then.
    return wanted.map((run) =>
      plan.run !== undefined && run.status === 'unknown' && run.members.length > 0 && isAbandoned(run, rows)
        ? { ...run, status: 'abandoned' }
        : run,
    )
  }
  const runs = await look()
  const busy = runs.filter(({ status }) => status === 'sidecar-lives').flatMap(({ state }) => state ?? [])
  if (plan.dryRun || busy.length === 0) return runs
  await untilSidecarsEnd(busy)
  return look()
}

function isDead({ status }: RunSurvey): boolean {
  return status === 'abandoned' || status === 'other-boot'
}

async function workRun(plan: Plan, run: RunSurvey): Promise<RunResult> {
  const processes = await describe(run.members)
  const left = run.spared.filter((one) => !isNeverEnded(one))
  const cleared = plan.dryRun ? { left, kept: run.spared.filter(isNeverEnded) } : await clearRun(run, plan.graceMs)
  return { ...untouched(run), dead: true, processes, ...cleared }
}

function untouched({ id, label, status, main, state }: RunSurvey): RunResult {
  return { id, label, status, mainPid: main?.pid ?? null, dead: false, file: state !== null, processes: [] }
}

async function workBelow(plan: Plan, pid: number): Promise<RunResult> {
  const parent = identify(pid)
  if (parent === undefined) throw new UsageError(`--parent expects a living process, but there is no process ${pid}`)
  const { members, spared } = findBelow(pid)
  const processes = await describe(members)
  const kept = spared.filter(isNeverEnded)
  const left = spared.filter((one) => !isNeverEnded(one))
  const cleared = plan.dryRun ? { left, kept } : await clearBelow(parent, plan.graceMs)
  return {
    id: `below ${pid}`,
    label: '',
    status: 'main-lives',
    mainPid: pid,
    dead: true,
    file: false,
    processes,
    ...cleared,
  }
}

async function describe(members: readonly Member[]): Promise<Shown[]> {
  if (members.length === 0) return []
  const usage: Map<number, Usage> = await usageOf(members.map(({ pid }) => pid))
  const rows = new Map<number, ProcessRow>((await listProcesses()).map((row) => [row.pid, row]))
  return members.map(({ pid, command, why }) => {
    const row = rows.get(pid)
    return {
      pid,
      ageMs: row?.ageMs ?? null,
      state: row?.state ?? '?',
      cpuPercent: usage.get(pid)?.cpuPercent ?? null,
      command: redactor.text(row?.command ?? command),
      proof: why,
    }
  })
}

const redactor = new Redactor()

function exitCode({ plan, runs, temp, sockets, actors, shm }: Result): number {
  const files = [temp, sockets, actors, shm]
  if (plan.dryRun) {
    const found = runs.some((run) => run.dead && (run.processes.length > 0 || run.file || run.left?.length))
    return found || files.some(({ removed }) => removed.length > 0) ? 1 : 0
  }
  const left = runs.some((run) => (run.dead ? (run.left?.length ?? 0) > 0 : run.status === 'sidecar-lives'))
  return left || files.some(({ kept }) => kept.some(({ reason }) => reason === 'it could not be removed')) ? 1 : 0
}

function record({ plan, runs, temp, sockets, actors, shm, notes }: Result): object {
  const hide = <T extends { command: string }>(one: T): T => ({ ...one, command: redactor.text(one.command) })
  return {
    format: 1,
    dryRun: plan.dryRun,
    runs: runs.map(({ ended = [], left = [], kept = [], ...run }) => ({
      ...run,
      ended: ended.map(hide),
      left: left.map(hide),
      kept: kept.map(hide),
    })),
    temp,
    sockets,
    actors,
    shm,
    notes,
  }
}

function report(result: Result): string[] {
  const { plan, runs, temp, sockets, actors, shm, notes } = result
  const lines: string[] = []
  for (const run of runs) if (run.dead) lines.push(...runLines(run, plan))
  lines.push(...fileLines('temp folder', temp, plan), ...fileLines('socket', sockets, plan))
  lines.push(...fileLines('file of actors', actors, plan, 'files of actors'))
  lines.push(...fileLines('file in /dev/shm', shm, plan, 'files in /dev/shm'))
  if (lines.length === 0) {
    if (plan.run !== undefined && !runs.some(({ id }) => id === plan.run))
      lines.push(`nothing is left of run ${plan.run}`)
    else lines.push('nothing was left behind')
  } else if (plan.dryRun && exitCode(result) === 1) {
    lines.push('', `${colors.bold('Nothing was touched.')} Run it again with --yes to end and remove this.`)
  }
  lines.push(...aliveLines(runs), ...notes.map((note) => colors.dim(`note: ${plain(note)}`)))
  return lines
}

function runLines({ id, label, status, mainPid, file, processes, ended, left, kept }: RunResult, plan: Plan): string[] {
  const what =
    plan.parent !== undefined
      ? `below process ${mainPid}, which lives and is left alone`
      : `run ${id}${label ? ` (${plain(label)})` : ''}: ${whyDead(status, mainPid)}`
  const lines = [colors.bold(what)]
  if (plan.dryRun || processes.length === 0) {
    lines.push(
      ...(processes.length > 0 ? processTable(processes) : [`  no process is left${file ? ', only its files' : ''}`]),
    )
  } else if (ended) lines.push(...endedTable(processes, ended))
  for (const one of left ?? []) lines.push(`  ${colors.red('left')}: ${sparedWords(one)}`)
  for (const one of kept ?? []) lines.push(`  not touched: ${sparedWords(one)}`)
  return lines
}

function whyDead(status: RunResult['status'], mainPid: number | null): string {
  if (status === 'other-boot') return 'of an earlier boot'
  return mainPid === null ? 'its processes have no parent any more' : `its main process ${mainPid} is dead`
}

function processTable(processes: Shown[]): string[] {
  const rows = processes.map((one): Cell[] => [
    String(one.pid),
    ageWords(one.ageMs),
    one.state === '?' ? '?' : stateWords(one.state),
    one.cpuPercent === null ? '?' : `${one.cpuPercent} %`,
    one.proof,
    one.command,
  ])
  return table(['>PID', '>AGE', 'STATE', '>CPU', 'PROOF', 'COMMAND'], rows)
}

function endedTable(processes: Shown[], ended: EndedProcess[]): string[] {
  const ages = new Map(processes.map(({ pid, ageMs }) => [pid, ageMs]))
  const rows = ended.map(({ pid, signal, command }): Cell[] => [
    String(pid),
    ageWords(ages.get(pid)),
    `ended with ${signal}`,
    redactor.text(command),
  ])
  return rows.length === 0 ? ['  they ended by themselves'] : table(['>PID', '>AGE', '', 'COMMAND'], rows)
}

function sparedWords({ pid, reason, command }: Spared): string {
  return plain(`process ${pid} ${reason} (${redactor.text(command)})`)
}

/** On one screen with the rest. */
const MOST_FILES = 20

function fileLines(one: string, { removed, kept }: Swept, plan: Plan, many = `${one}s`): string[] {
  const lines: string[] = []
  if (removed.length > 0) {
    lines.push(colors.bold(`${count(removed.length, one, many)}${plan.dryRun ? '' : ' removed'}`))
    lines.push(
      ...table(
        ['PATH', 'WHY'],
        removed.slice(0, MOST_FILES).map(({ path, reason }) => [path, reason]),
      ),
    )
    if (removed.length > MOST_FILES) lines.push(`and ${removed.length - MOST_FILES} more; --json lists all`)
  }
  for (const { path, reason } of kept) lines.push(`${one} kept: ${plain(path)}: ${reason}`)
  return lines
}

/** Runs that are not to be touched, in one line each kind. */
function aliveLines(runs: RunResult[]): string[] {
  const of = (status: RunResult['status']): string =>
    runs
      .filter((run) => run.status === status && !run.dead)
      .map(({ id, mainPid }) => (mainPid === null ? id : `${id} (main process ${mainPid})`))
      .join(', ')
  const lines: [string, string][] = [
    ['left alone, for they live', of('main-lives')],
    ['left alone, for a sidecar is ending them just now', of('sidecar-lives')],
    ['left alone, for they belong to another pid namespace or container', of('other-namespace')],
    ['left alone, for nothing tells whether their main process lives (name one with --run)', of('unknown')],
  ]
  return lines.flatMap(([words, ids]) => (ids === '' ? [] : [colors.dim(`runs ${words}: ${plain(ids)}`)]))
}
