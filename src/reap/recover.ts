/** Ends what sessions left whose main process is gone: called by the sidecar, and by the next run for those without one. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pause } from '../process/clean.ts'
import { type EndedProcess, type EndResult, endMembers } from './end.ts'
import type { Spared } from './members.ts'
import {
  type BadFile,
  host,
  listSessions,
  namesIn,
  queryOf,
  remove,
  removeSession,
  removeTemp,
  type SessionState,
  sessionFolders,
  sessionPath,
  statusOf,
  writeWhole,
} from './state.ts'

/** A session that was ended without its main process. */
export interface RecoveredSession {
  id: string
  kind: SessionState['kind']
  label: string
  root: string
  /** Start of the session, milliseconds since the epoch. */
  startedAt: number
  /** Who ended it; of a sidecar's work only the programs are known, not their command lines. */
  by: 'run' | 'sidecar'
  ended: EndedProcess[]
  left: Spared[]
}

export interface RecoverOptions {
  /** Folder of the session files; default: those of this user. */
  stateDir?: string
  /** Only what sidecars did for sessions of this root folder is told (and forgotten). Default: for all. */
  root?: string
  /** Told about files that cannot be used. */
  bad?: BadFile
}

const SECOND_LOOK_MS = 50
const DAY_MS = 86_400_000
/** Files of a boot of another machine, or of another pid namespace, whose owner cannot be looked at. */
const FOREIGN_KEPT_MS = 14 * DAY_MS

/**
 * Finishes what earlier runs on this machine could not: sessions of this boot whose main process and sidecar are both gone
 * are ended and their files removed; files of an earlier boot are removed. A session whose main process or sidecar lives
 * is never touched. With nothing to do it reads two folders; several at once do not hurt each other.
 *
 * @returns what was ended now, and what sidecars have ended since the last call. Never rejects.
 */
export async function recoverSessions(options: RecoverOptions = {}): Promise<RecoveredSession[]> {
  const { stateDir, root, bad } = options
  const recovered: RecoveredSession[] = []
  try {
    const sessions = listSessions(stateDir, bad)
    for (const state of sessions) {
      if (isOver(state)) removeSession(state)
      else if (statusOf(state) === 'abandoned') recovered.push(asRecovered(state, await reapSession(state)))
    }
    const ids = new Set(sessions.map((state) => state.id))
    for (const folder of stateDir === undefined ? sessionFolders() : [stateDir]) {
      recovered.push(...collectResults(folder, ids, root))
    }
  } catch (error) {
    bad?.(stateDir ?? '', error instanceof Error ? error.message : String(error))
  }
  return recovered.filter((one) => one.by === 'run' || one.ended.length + one.left.length > 0)
}

/** Is everything that the files are about gone, so far as it can ever be known? */
function isOver(state: SessionState): boolean {
  const status = statusOf(state)
  if (status === 'other-boot' && state.host === host()) return true
  const foreign = status === 'other-boot' || status === 'other-namespace'
  return foreign && Date.now() - state.startedAt > FOREIGN_KEPT_MS
}

/**
 * Ends all processes of a session: the ladder, and a second look 50 ms later for what was being born. Then its temporary
 * folder and its files are removed. The caller has made sure that its main process is gone.
 *
 * @param politeMs time between SIGTERM and force, milliseconds; default: what the session asks for
 */
export async function reapSession(state: SessionState, politeMs = state.politeMs): Promise<EndResult> {
  const query = queryOf(state)
  const first = await endMembers([], { politeMs, query })
  await pause(SECOND_LOOK_MS)
  const second = await endMembers([], { politeMs: 0, query })
  removeTemp(state)
  removeSession(state)
  const ended = new Map([...first.ended, ...second.ended].map((one) => [one.pid, one]))
  return { ended: [...ended.values()], left: second.left }
}

function asRecovered(state: SessionState, { ended, left }: EndResult): RecoveredSession {
  const { id, kind, label, root, startedAt } = state
  return { id, kind, label, root, startedAt, by: 'run', ended, left }
}

/** Writes what a sidecar did, without command lines: they may hold secrets, and this is a file. Never throws. */
export function writeResult(state: SessionState, { ended, left }: EndResult): void {
  const { folder, id, kind, label, root, startedAt } = state
  const program = <T extends { command: string }>(one: T): T => ({ ...one, command: programOf(one.command) })
  const result: RecoveredSession & { format: 1 } = {
    format: 1,
    ...{ id, kind, label, root, startedAt, by: 'sidecar' },
    ended: ended.map(({ pid, command, signal }) => ({ pid, command: programOf(command), signal })),
    left: left.map((one) => ({ ...program(one), reason: one.reason.replace(/`[^`]*`/g, '`…`') })),
  }
  try {
    writeWhole(sessionPath(folder, id, 'reaped.json'), result)
  } catch {
    // What was done is done; only nobody hears of it.
  }
}

function programOf(command: string): string {
  return (command.split(' ')[0] ?? '').replace(/^.*\//, '')
}

/** Reads and removes results of sidecars, and removes what is more than a day old and belongs to no session. */
function collectResults(folder: string, sessions: ReadonlySet<string>, root: string | undefined): RecoveredSession[] {
  const found: RecoveredSession[] = []
  for (const name of namesIn(folder)) {
    const path = join(folder, name)
    const [, id = '', ending] = /^(.+?)\.(reaped\.json|pids|json\.\d+\.tmp|reaped\.json\.\d+\.tmp)$/.exec(name) ?? []
    if (ending === undefined || (ending !== 'reaped.json' && sessions.has(id))) continue
    const result = ending === 'reaped.json' ? readResult(path) : undefined
    if (result && (root === undefined || result.root === root)) {
      found.push(result)
      remove(path)
    } else if (ageMs(path) > DAY_MS) remove(path)
  }
  return found
}

function readResult(path: string): RecoveredSession | undefined {
  try {
    const { format, ...result } = JSON.parse(readFileSync(path, 'utf8')) as RecoveredSession & { format: unknown }
    const texts = [result.id, result.label, result.root]
    const whole = format === 1 && texts.every((text) => typeof text === 'string')
    return whole && isList(result.ended) && isList(result.left) ? { ...result, by: 'sidecar' } : undefined
  } catch {
    return undefined
  }
}

function isList(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof (one as Spared | null)?.command === 'string')
}

function ageMs(path: string): number {
  try {
    return Date.now() - statSync(path).mtimeMs
  } catch {
    return 0
  }
}
