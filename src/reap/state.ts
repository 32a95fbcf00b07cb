/**
 * The files by which a session outlives its main process: `<id>.json` says whose processes these are, `<id>.pids` lists
 * them as they are seen. What is read here may be torn, old or made by somebody else: it is checked, never trusted.
 */
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir, hostname, tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { isRunning, type ProcessIdentity } from '../process/identity.ts'
import { makeFolder } from '../process/make-folder.ts'
import { available, bootId } from '../process/procfs.ts'
import type { MemberQuery } from './members.ts'
import type { Strength } from './strength.ts'

/** A process of the boot that the file names. */
export interface PidAndStart {
  pid: number
  start: number
}

/** Content of a session file, format 1. */
export interface SessionState {
  format: 1
  /** Letters, digits, `_`, `-` and `.`; at most 64. */
  id: string
  kind: 'vitest' | 'exec'
  /** For people: what runs. */
  label: string
  /** Root folder of the project. */
  root: string
  bootId: string
  host: string
  /** The pid namespace that all pids of the file belong to, as in `/proc/self/ns/pid`; null where there is none. */
  pidNamespace: string | null
  main: PidAndStart
  sidecar: PidAndStart | null
  strength: Strength
  /** Mark in the environment of the processes. */
  tag: { name: string; value: string }
  /** Number of the inherited descriptor; null without a lease. */
  leaseFd: number | null
  /** Ticks of 10 ms since boot: nothing older belongs to the session. */
  since: number
  /** Milliseconds since the epoch. */
  startedAt: number
  /** Time between SIGTERM and force when the session is ended without its main process, milliseconds. */
  politeMs: number
  /** Folder to remove together with the session. */
  temp: string | null
  /** Folder of this file. Not part of its content. */
  folder: string
}

/** Told about a file that is not what it should be; `reason` is half a sentence. */
export type BadFile = (path: string, reason: string) => void

const LARGEST_STATE = 64 << 10
const LARGEST_REGISTRY = 4 << 20
const ID = /^[A-Za-z0-9][\w.-]{0,63}$/

/** Time to wait between SIGTERM and force where nothing else was asked for, milliseconds. */
export const POLITE_MS = 1000

/** Can this be the id of a session, and so the name of a file? */
export function isSessionId(id: unknown): id is string {
  return typeof id === 'string' && ID.test(id)
}

/** `$XDG_STATE_HOME/harrow/sessions`, or below `~/.local/state`; and the folder to use where that cannot be written. */
export function sessionFolders(): string[] {
  const home = process.env.XDG_STATE_HOME
  const first = home?.startsWith('/') ? home : join(homedir(), '.local', 'state')
  return [join(first, 'harrow', 'sessions'), join(tmpdir(), `harrow-${process.geteuid?.() ?? 'user'}`)]
}

/**
 * Makes the folder of the session files, for its owner only.
 *
 * @param stateDir this one and no other; default: the first of {@link sessionFolders} that works
 * @throws the error of the last one when none does
 */
export function makeSessionFolder(stateDir?: string): string {
  let failure: unknown
  for (const folder of stateDir === undefined ? sessionFolders() : [stateDir]) {
    try {
      makeFolder(folder, 0o700)
      if (isOurs(folder)) return folder
      failure = new Error(`${folder} can be written by others`)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

/** A folder of this user that nobody else can write to, so that what it holds was written by this user. */
function isOurs(folder: string): boolean {
  const stat = lstatSync(folder)
  if (process.platform === 'win32') return stat.isDirectory()
  return stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0
}

/** Path of one of the files of a session. */
export function sessionPath(folder: string, id: string, ending: 'json' | 'pids' | 'reaped.json'): string {
  return join(folder, `${id}.${ending}`)
}

/**
 * Writes the session file: to a temporary name first, then renamed.
 * @throws the file system's error
 */
export function writeState(state: SessionState): void {
  const { folder, ...content } = state
  writeWhole(sessionPath(folder, state.id, 'json'), content)
}

/** Writes JSON under a temporary name and renames it, readable by the owner only. */
export function writeWhole(path: string, content: unknown): void {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    writeFileSync(temporary, `${JSON.stringify(content)}\n`, { mode: 0o600 })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/**
 * All sessions that have a file, whether they live or not.
 *
 * @param stateDir where to look; default: all of {@link sessionFolders}. A folder that others can write to is passed over.
 * @param bad told about files that cannot be read
 */
export function listSessions(stateDir?: string, bad?: BadFile): SessionState[] {
  const found: SessionState[] = []
  for (const folder of stateDir === undefined ? sessionFolders() : [stateDir]) {
    for (const name of namesIn(folder, bad)) {
      if (!name.endsWith('.json') || name.endsWith('.reaped.json')) continue
      const state = readState(join(folder, name), bad)
      if (state) found.push(state)
    }
  }
  return found
}

/** Names in a folder of session files; empty when there is none, or when it is not safe. */
export function namesIn(folder: string, bad?: BadFile): string[] {
  try {
    const names = readdirSync(folder)
    if (isOurs(folder)) return names
    bad?.(folder, 'can be written by others')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') bad?.(folder, `cannot be read (${code})`)
  }
  return []
}

/** Reads a session file; undefined when there is none, or when it is not one of this format. */
export function readState(path: string, bad?: BadFile): SessionState | undefined {
  const text = readOwn(path, LARGEST_STATE, bad)
  if (text === undefined) return undefined
  try {
    const state = checked(JSON.parse(text), path)
    if (state) return state
    bad?.(path, 'is no session file of this version')
  } catch {
    bad?.(path, 'is no JSON')
  }
  return undefined
}

/** Text of a regular file of this user, at most `limit` bytes, the last ones. */
function readOwn(path: string, limit: number, bad?: BadFile): string | undefined {
  try {
    // A FIFO in its place would block the open.
    if (!lstatSync(path).isFile()) {
      bad?.(path, 'is no file')
      return undefined
    }
    const fd = openSync(path, 'r')
    try {
      const stat = fstatSync(fd)
      if (process.platform !== 'win32' && stat.uid !== process.geteuid?.()) {
        bad?.(path, 'belongs to another user')
        return undefined
      }
      const length = Math.min(stat.size, limit)
      const content = Buffer.alloc(length)
      const got = readSync(fd, content, 0, length, stat.size - length)
      return content.toString('utf8', 0, got)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') bad?.(path, `cannot be read (${code})`)
    return undefined
  }
}

function checked(value: unknown, path: string): SessionState | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { format, id, kind, label, root, bootId, host, pidNamespace, main, sidecar, strength, ...rest } =
    value as Partial<Record<keyof SessionState, unknown>>
  const { tag, leaseFd, since, startedAt, politeMs, temp } = rest
  const { name, value: mark } = (tag ?? {}) as Partial<SessionState['tag']>
  const whole =
    format === 1 &&
    isSessionId(id) &&
    basename(path) === `${id}.json` &&
    (kind === 'vitest' || kind === 'exec') &&
    [label, root, bootId, host].every((text) => typeof text === 'string') &&
    (pidNamespace === null || typeof pidNamespace === 'string') &&
    isPidAndStart(main) &&
    (sidecar === null || isPidAndStart(sidecar)) &&
    (strength === 'basic' || strength === 'strong' || strength === 'exact') &&
    typeof name === 'string' &&
    typeof mark === 'string' &&
    /^[A-Za-z_]\w*$/.test(name) &&
    isSessionId(mark) &&
    (leaseFd === null || isCount(leaseFd)) &&
    [since, startedAt, politeMs].every(isCount) &&
    (temp === null || typeof temp === 'string')
  return whole ? { ...(value as SessionState), folder: dirname(path) } : undefined
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function isPidAndStart(value: unknown): value is PidAndStart {
  const { pid, start } = (value ?? {}) as Partial<PidAndStart>
  return Number.isSafeInteger(pid) && pid! > 0 && isCount(start)
}

/** One line of the registry. */
export function registryLine(id: PidAndStart): string {
  return `${id.pid} ${id.start}\n`
}

/**
 * The processes that the main process has seen. Lines that are torn or senseless are passed over; of a registry of more
 * than 4 MB only the end counts.
 */
export function readRegistry(state: SessionState): ProcessIdentity[] {
  const text = readOwn(sessionPath(state.folder, state.id, 'pids'), LARGEST_REGISTRY) ?? ''
  const known = new Map<string, ProcessIdentity>()
  // What follows the last line break was not written to its end.
  for (const line of text.split('\n').slice(0, -1)) {
    const match = /^(\d{1,10}) (\d{1,15})$/.exec(line)
    if (match) known.set(line, { bootId: state.bootId, pid: Number(match[1]), start: Number(match[2]) })
  }
  return [...known.values()]
}

/** Removes the files of a session, and its result with `also`; never throws. */
export function removeSession(state: Pick<SessionState, 'folder' | 'id'>, also?: 'result'): void {
  const { folder, id } = state
  const endings = ['json', 'pids', ...(also ? (['reaped.json'] as const) : [])] as const
  for (const ending of endings) remove(sessionPath(folder, id, ending))
}

/** Removes a file; never throws. */
export function remove(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // A read-only state folder; the next run passes over what it cannot use.
  }
}

/** Why a session may or may not be ended by others than its main process. */
export type SessionStatus = 'main-lives' | 'sidecar-lives' | 'abandoned' | 'other-namespace' | 'other-boot'

/**
 * Who looks after a session now. `abandoned`: nobody, its processes may be ended. `other-namespace`: its pids mean nothing
 * here, so nothing can be said. `other-boot`: all of it is gone.
 */
export function statusOf(state: SessionState): SessionStatus {
  if (state.bootId !== currentBoot()) return 'other-boot'
  const blind = process.platform === 'linux' && !available()
  if (blind || state.pidNamespace !== pidNamespace()) return 'other-namespace'
  if (isRunning(mainOf(state))) return 'main-lives'
  return state.sidecar && isRunning({ bootId: state.bootId, ...state.sidecar }) ? 'sidecar-lives' : 'abandoned'
}

/** Identity of the main process of a session. */
export function mainOf(state: SessionState): ProcessIdentity {
  return { bootId: state.bootId, ...state.main }
}

/** Boot id as in {@link ProcessIdentity.bootId}. */
export function currentBoot(): string {
  return process.platform === 'linux' ? (bootId() ?? '') : 'epoch'
}

/** Name of the pid namespace of this process; null where the system has none. */
export function pidNamespace(): string | null {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return null
  }
}

/** Name of this machine, which tells a session of an earlier boot from one of another machine with the same home. */
export const host: () => string = hostname

/**
 * All proofs by which processes of a session are known, for somebody who is not its main process.
 *
 * @param state the session
 * @param others all sessions that have a file; their sidecars are never touched
 */
export function queryOf(state: SessionState, others: SessionState[] = listSessions(state.folder)): MemberQuery {
  return {
    tag: state.tag,
    since: state.since,
    also: readRegistry(state),
    spare: sidecarsOf([state, ...others]),
    ...(state.leaseFd !== null && { lease: state.id, leaseFd: state.leaseFd }),
  }
}

/** Sidecars of sessions of this boot. */
export function sidecarsOf(sessions: Iterable<SessionState>): ProcessIdentity[] {
  return [...sessions].flatMap(({ bootId, sidecar }) => (sidecar ? [{ bootId, ...sidecar }] : []))
}

/**
 * Removes the temporary folder of a session, if its path is that of one: `harrow-<id>` or `harrow-<id>-...` right below
 * the system's folder for temporary files, a folder and no link, of this user. Never throws.
 */
export function removeTemp(state: SessionState): void {
  const { temp, id } = state
  if (temp === null) return
  const name = basename(temp)
  if (resolve(temp) !== join(resolve(tmpdir()), name)) return
  if (name !== `harrow-${id}` && !name.startsWith(`harrow-${id}-`)) return
  try {
    const stat = lstatSync(temp)
    if (stat.isDirectory() && (process.platform === 'win32' || stat.uid === process.geteuid?.())) {
      rmSync(temp, { recursive: true, force: true })
    }
  } catch {
    // Already gone.
  }
}
