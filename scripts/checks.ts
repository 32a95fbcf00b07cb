/** What `harrow preflight` looks at. */
import { accessSync, constants, statfsSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { Redactor } from '../src/dump/redact.ts'
import { listingSource, listProcesses } from '../src/process/list.ts'
import { listenersOn } from '../src/process/listeners.ts'
import { isNative, loadNative } from '../src/process/native.ts'
import { existingRuntimeDir } from '../src/process/runtime-dir.ts'
import { cpuSupply } from '../src/process/throttle.ts'
import { commandOf } from '../src/process/tree.ts'
import { sweepShm, sweepSockets, sweepTemp } from '../src/reap/files.ts'
import { isAbandoned, type RunSurvey, surveyRuns } from '../src/reap/survey.ts'
import { count } from './screen.ts'

/** One thing that was looked at. `warn`: results may be slower or weaker, but not wrong. */
export interface Check {
  /** `port 3000`, `leftovers`. */
  what: string
  level: 'ok' | 'warn' | 'bad'
  /** What was found. */
  words: string
  /** What to do about it, one line; null when there is nothing to do. */
  fix: string | null
}

/** Chromium and others that share memory need this much, and Docker gives 64 MB. */
const LEAST_SHM_BYTES = 128 * 1024 * 1024
/** From this share of throttled periods on, times that were measured in tests are worth little. */
const THROTTLED = 0.05
/** More runnable processes than this per CPU make tests wait. */
const LOAD_PER_CORE = 1.5
/** Names in a sentence; the rest is counted. */
const MOST_NAMES = 5

/** Is a TCP port free on all addresses? If not: who listens. */
export async function checkPort(port: number): Promise<Check> {
  const what = `port ${port}`
  const redactor = new Redactor()
  const [listener] = listenersOn([port])
  if (listener) {
    const { address, pids, uid } = listener
    const [pid] = pids
    if (pid === undefined) {
      const words = `taken: a process of user ${uid} that cannot be looked into listens on ${address}`
      return { what, level: 'bad', words, fix: `sudo ss -ltnp 'sport = :${port}' tells which` }
    }
    const words = `taken: process ${pid} \`${redactor.text(commandOf(pid, 80))}\` listens on ${address}`
    return { what, level: 'bad', words, fix: `kill ${pid}, or use another port` }
  }
  const problem = await bindProblem(port)
  if (problem === undefined) return { what, level: 'ok', words: 'free', fix: null }
  if (problem === 'EACCES') {
    return { what, level: 'bad', words: 'only root may listen there', fix: 'use a port from 1024 on' }
  }
  const fix = process.platform === 'win32' ? `netstat -ano | findstr :${port}` : `lsof -nP -i :${port} tells who`
  return { what, level: 'bad', words: `taken (${problem})`, fix }
}

/** Code of the error that a server would get; a listener on one address alone does not show on the others. */
async function bindProblem(port: number): Promise<string | undefined> {
  for (const host of ['::', '0.0.0.0', '127.0.0.1', '::1']) {
    const code = await new Promise<string | undefined>((resolve) => {
      const server = createServer()
      server.once('error', ({ code = 'error' }: NodeJS.ErrnoException) => resolve(code))
      server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
    })
    // No IPv6 here.
    if (code !== undefined && code !== 'EADDRNOTAVAIL' && code !== 'EAFNOSUPPORT') return code
  }
  return undefined
}

/** Processes, session files and temp folders of dead runs; deliberate daemons are no finding. */
export async function checkLeftovers(): Promise<Check[]> {
  const rows = await listProcesses()
  const { runs, bad } = surveyRuns(rows)
  const dead = runs.filter(({ status }) => status === 'abandoned' || status === 'other-boot')
  const members = dead.flatMap((run) => run.members)
  const files = [
    ...sweepTemp({ dryRun: true }).removed,
    ...sweepShm({ dryRun: true, runs: runs.map((run) => ({ id: run.id, alive: !dead.includes(run) })) }).removed,
  ]
  const checks: Check[] = []
  if (dead.length > 0 || files.length > 0) {
    const found = [
      [dead.length, 'dead run', 'dead runs'],
      [members.length, 'process', 'processes'],
      [files.length, 'temp folder or file', 'temp folders or files'],
    ] as const
    const words = `${found.flatMap(([number, one, many]) => (number > 0 ? [count(number, one, many)] : [])).join(', ')}${idsOf(dead)}`
    checks.push({ what: 'leftovers', level: 'bad', words, fix: 'npx harrow reap --yes' })
  }
  const strays = runs.filter((run) => run.status === 'unknown' && run.members.length > 0 && isAbandoned(run, rows))
  if (strays.length > 0) {
    const words = `processes without a parent carry the mark of ${count(strays.length, 'run')} without a session file${idsOf(strays)}`
    checks.push({ what: 'leftovers', level: 'warn', words, fix: `npx harrow reap --run ${strays[0]!.id} --yes` })
  }
  for (const { path, reason } of bad) {
    checks.push({ what: 'leftovers', level: 'warn', words: `${path} ${reason}`, fix: 'look at it and remove it' })
  }
  if (checks.length > 0) return checks
  const alive = runs.filter(({ status }) => status === 'main-lives').length
  return [
    { what: 'leftovers', level: 'ok', words: `none${alive > 0 ? `; ${count(alive, 'run')} alive` : ''}`, fix: null },
  ]
}

function idsOf(runs: RunSurvey[]): string {
  const ids = runs.map(({ id }) => id)
  if (ids.length === 0) return ''
  return ` (${ids.slice(0, MOST_NAMES).join(', ')}${ids.length > MOST_NAMES ? `, and ${ids.length - MOST_NAMES} more` : ''})`
}

/** Socket files that a dead process has left. */
export async function checkSockets(): Promise<Check> {
  const { removed } = await sweepSockets(tmpdir(), { dryRun: true })
  const ofActors = existingRuntimeDir()
  if (ofActors !== undefined) removed.push(...(await sweepSockets(ofActors, { dryRun: true })).removed)
  if (removed.length === 0) return { what: 'sockets', level: 'ok', words: `no stale ones in ${tmpdir()}`, fix: null }
  const words = `${count(removed.length, 'stale socket')}: ${removed
    .slice(0, MOST_NAMES)
    .map(({ path }) => path)
    .join(', ')}`
  return { what: 'sockets', level: 'bad', words, fix: 'npx harrow reap --sockets --yes' }
}

/** Is there shared memory, with room, and without leftovers of dead runs? */
export function checkSharedMemory(folder = '/dev/shm'): Check {
  const what = 'shm'
  if (process.platform !== 'linux') return { what, level: 'ok', words: 'not looked at on this system', fix: null }
  try {
    accessSync(folder, constants.W_OK)
    const { bavail, bsize } = statfsSync(folder)
    const free = bavail * bsize
    const words = `${folder} has ${Math.round(free / 1e6)} MB free`
    if (free >= LEAST_SHM_BYTES) return { what, level: 'ok', words, fix: null }
    const fix = 'npx harrow reap --shm lists what nobody uses; in Docker start with --shm-size=1g'
    return { what, level: 'warn', words, fix }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return { what, level: 'warn', words: `${folder} cannot be used (${code})`, fix: `mount a tmpfs there` }
  }
}

/** Can times be trusted that tests measure here? */
export async function checkCpu(): Promise<Check[]> {
  const { cores, quota, throttled, throttledNow, load } = await cpuSupply()
  const checks: Check[] = []
  const percent = (share: number): string => `${Math.round(share * 100)} %`
  if (throttled !== null && throttledNow !== null && Math.max(throttled, throttledNow) >= THROTTLED) {
    const words = `throttled in ${percent(throttled)} of all periods, ${percent(throttledNow)} just now (${quota} CPUs granted)`
    checks.push({
      what: 'cpu',
      level: 'warn',
      words,
      fix: `--maxWorkers=${Math.max(1, Math.floor(quota ?? 1))}, or grant more CPU`,
    })
  } else if (quota !== null && quota < cores) {
    const words = `the control group grants ${quota} of ${cores} CPUs`
    checks.push({ what: 'cpu', level: 'warn', words, fix: `--maxWorkers=${Math.max(1, Math.floor(quota))}` })
  }
  if (load > cores * LOAD_PER_CORE) {
    const words = `busy: load ${load.toFixed(1)} on ${count(cores, 'CPU')}`
    checks.push({ what: 'cpu', level: 'warn', words, fix: 'wait, or look with npx harrow ptree and top' })
  }
  if (checks.length > 0) return checks
  return [
    { what: 'cpu', level: 'ok', words: `load ${load.toFixed(1)} on ${count(cores, 'CPU')}, not throttled`, fix: null },
  ]
}

/** How surely processes of a run will be found. */
export function checkStrength(): Check {
  const what = 'strength'
  const { strength, note } = listingSource()
  if (strength !== 'full') return { what, level: 'warn', words: `basic: ${note}`, fix: 'run on Linux for more' }
  const native = loadNative()
  if (isNative(native)) {
    const words = 'strong: orphans are adopted, a lease is inherited (exact below `npx harrow exec -- vitest`)'
    return { what, level: 'ok', words, fix: null }
  }
  return { what, level: 'warn', words: `basic: ${native.missing}`, fix: 'npm install -D koffi' }
}
