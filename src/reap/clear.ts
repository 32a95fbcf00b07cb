/** Ends what dead runs have left, on behalf of a person who asked for it. */
import { monotonic, pause } from '../process/clean.ts'
import { isRunning, type ProcessIdentity } from '../process/identity.ts'
import { descendantPids } from '../process/tree.ts'
import { type EndedProcess, endMembers } from './end.ts'
import { findMembers, identifyAll, type MemberSearch, type Spared } from './members.ts'
import { POLITE_MS, removeSession, removeTemp, type SessionState, statusOf } from './state.ts'
import type { RunSurvey } from './survey.ts'

/** What came of it. */
export interface Cleared {
  ended: EndedProcess[]
  /** Those that should be gone and are not. */
  left: Spared[]
  /** Those that are never ended: deliberate daemons, ourselves and our ancestors. */
  kept: Spared[]
}

/** A sidecar that takes longer than this beyond the grace of its run is not waited for, milliseconds. */
const SIDECAR_MS = 5000
const SECOND_LOOK_MS = 50
/** A parent that starts its children anew is not outrun. */
const MOST_ROUNDS = 3

/**
 * Ends the processes of a run and removes its files when none is left.
 *
 * @param run a run of which it is known that its main process and its sidecar are dead
 * @param graceMs time between SIGTERM and force, milliseconds; default: what the run itself wanted
 */
export async function clearRun(run: RunSurvey, graceMs?: number): Promise<Cleared> {
  const { state, query, spared } = run
  const cleared: Cleared = {
    ended: [],
    left: spared.filter((one) => !isNeverEnded(one)),
    kept: spared.filter(isNeverEnded),
  }
  if (query !== null) {
    const first = await endMembers([], { politeMs: graceMs ?? state?.politeMs ?? POLITE_MS, query })
    // For what was being born meanwhile.
    await pause(SECOND_LOOK_MS)
    const second = await endMembers([], { politeMs: 0, query })
    cleared.ended = [...first.ended, ...second.ended]
    cleared.left = second.left.filter((one) => !isNeverEnded(one))
    cleared.kept = second.left.filter(isNeverEnded)
  }
  if (state !== null && cleared.left.length === 0) {
    removeTemp(state)
    removeSession(state, 'result')
  }
  return cleared
}

/** Processes below a living one, which is not among them. */
export function findBelow(pid: number): MemberSearch {
  const also = identifyAll(descendantPids(pid))
  return also.length === 0 ? { members: [], spared: [] } : findMembers({ also })
}

/** Ends the processes below a living one, which is left alone. */
export async function clearBelow(parent: ProcessIdentity, graceMs = POLITE_MS): Promise<Cleared> {
  const cleared: Cleared = { ended: [], left: [], kept: [] }
  for (let round = 0; round < MOST_ROUNDS && isRunning(parent); round++) {
    const { members, spared } = findBelow(parent.pid)
    cleared.kept = spared.filter(isNeverEnded)
    if (members.length === 0) {
      cleared.left = spared.filter((one) => !isNeverEnded(one))
      return cleared
    }
    const { ended, left } = await endMembers(members, { politeMs: graceMs })
    cleared.ended.push(...ended)
    cleared.left = left.filter((one) => !isNeverEnded(one))
    if (cleared.left.length > 0) return cleared
    await pause(SECOND_LOOK_MS)
  }
  for (const { pid, command } of findBelow(parent.pid).members) {
    cleared.left.push({ pid, command, reason: `was started anew by process ${parent.pid} or one below it` })
  }
  return cleared
}

/** Waits, for a bounded time, until the sidecars of runs have done their work. */
export async function untilSidecarsEnd(states: SessionState[]): Promise<void> {
  const longest = Math.max(0, ...states.map(({ politeMs }) => Math.min(politeMs, 60_000)))
  const deadline = monotonic() + longest + SIDECAR_MS
  while (states.some((state) => statusOf(state) === 'sidecar-lives') && monotonic() < deadline) await pause(20)
}

/** The refusals that nobody can do anything about: they say what the process *is*, or that it is older than the run. */
export function isNeverEnded({ reason }: Spared): boolean {
  return /^(is |started before )/.test(reason)
}
