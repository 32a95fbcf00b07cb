/** What is known of all runs on this machine: which live, which are dead, and what of theirs is still there. */
import { basename } from 'node:path'
import type { ProcessIdentity } from '../process/identity.ts'
import type { ProcessRow } from '../process/list.ts'
import { findMembers, type Member, type MemberQuery, type Spared } from './members.ts'
import {
  host,
  isSessionId,
  listSessions,
  mainOf,
  queryOf,
  type SessionState,
  type SessionStatus,
  statusOf,
} from './state.ts'
import { listTempRoots, type TempRoot } from './temp.ts'

/** One run. */
export interface RunSurvey {
  id: string
  /** What runs, for people. */
  label: string
  /** As in `statusOf`; `unknown` when there are processes with its mark and nothing tells whether its main process lives. */
  status: SessionStatus | 'unknown'
  /** Its main process, dead or alive; null when that is unknown. */
  main: ProcessIdentity | null
  /** Its session file; null when there is none. */
  state: SessionState | null
  /** By what its processes are found; null when no search is allowed (another boot or pid namespace). */
  query: MemberQuery | null
  /** Its processes; without the main process. */
  members: Member[]
  spared: Spared[]
}

export interface Survey {
  runs: RunSurvey[]
  /** Files in the state folders that are no session files. */
  bad: { path: string; reason: string }[]
}

/** Mark of the processes of a vitest run. */
const SESSION = 'HARROW_SESSION'

/**
 * Looks at all session files, temp roots and marked processes of our own user. 2 to 7 ms for each run; never throws.
 *
 * @param rows all processes, of a moment ago
 * @param stateDir folder of the session files; default: those of the user
 */
export function surveyRuns(rows: readonly ProcessRow[], stateDir?: string): Survey {
  const bad: Survey['bad'] = []
  const sessions = listSessions(stateDir, (path, reason) => bad.push({ path, reason }))
  const runs = sessions.map((state) => surveySession(state, sessions))
  const known = new Set(runs.map(({ id }) => id))
  for (const root of listTempRoots()) {
    if (known.has(root.id) || root.owner === null || !isSessionId(root.id)) continue
    known.add(root.id)
    runs.push(surveyTempRoot(root, root.owner))
  }
  for (const id of marksIn(rows)) if (!known.has(id)) runs.push(surveyMark(id))
  return { runs, bad }
}

function surveySession(state: SessionState, sessions: SessionState[]): RunSurvey {
  // Another boot id in a home that machines share: it may be alive over there.
  const elsewhere = statusOf(state) === 'other-boot' && state.host !== host()
  const status = elsewhere ? 'other-namespace' : statusOf(state)
  const main = mainOf(state)
  const searchable = status !== 'other-boot' && status !== 'other-namespace'
  const query = searchable ? queryOf(state, sessions) : null
  return { id: state.id, label: state.label, status, main, state, query, ...search(query, main) }
}

/** A run whose session file is missing: it could not be written, or was removed. */
function surveyTempRoot({ id, path, state }: TempRoot, owner: ProcessIdentity): RunSurvey {
  const status = state === 'alive' ? 'main-lives' : state === 'dead' ? 'abandoned' : 'other-namespace'
  const main: ProcessIdentity = { bootId: owner.bootId, pid: owner.pid, start: owner.start }
  // `since` of another boot finds nothing, and so it should.
  const query = state === 'unknown' ? null : { tag: { name: SESSION, value: id }, since: main }
  return { id, label: basename(path), status, main, state: null, query, ...search(query, main) }
}

function surveyMark(id: string): RunSurvey {
  const query = { tag: { name: SESSION, value: id } }
  return { id, label: '', status: 'unknown', main: null, state: null, query, ...search(query, null) }
}

function search(query: MemberQuery | null, main: ProcessIdentity | null): Pick<RunSurvey, 'members' | 'spared'> {
  if (query === null) return { members: [], spared: [] }
  const { members, spared } = findMembers(query)
  const isMain = (one: ProcessIdentity): boolean => one.pid === main?.pid && one.start === main.start
  return { members: members.filter((one) => !isMain(one)), spared }
}

function marksIn(rows: readonly ProcessRow[]): Set<string> {
  const own = process.getuid?.() ?? null
  const marks = new Set<string>()
  for (const { marks: found, uid, pid } of rows) {
    if (found && uid === own && pid !== process.pid && found.run !== 'keep' && isSessionId(found.run))
      marks.add(found.run)
  }
  return marks
}

/**
 * Are all processes of a run of unknown status orphans? None has a parent outside the run but the first process of the
 * system, so whoever started them is dead.
 *
 * @param rows all processes
 */
export function isAbandoned(run: RunSurvey, rows: readonly ProcessRow[]): boolean {
  const parents = new Map(rows.map(({ pid, ppid }) => [pid, ppid]))
  const inside = new Set(run.members.map(({ pid }) => pid))
  return run.members.every(({ pid }) => {
    const parent = parents.get(pid)
    return parent === 1 || (parent !== undefined && inside.has(parent))
  })
}
