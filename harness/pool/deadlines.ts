/** Decides whether a worker is overdue. Pure: state and clock in, verdict out. */
import type { Section, WorkerState } from '../protocol.ts'

/** Limits of one project, in milliseconds. */
export interface Limits {
  grace: number
  blocked: number
  collect: number
  start: number
  stop: number
  teardown: number
  untimed: number
}

/** What the supervisor is waiting for. */
export type Stage = 'start' | 'run' | 'stop'

export interface Overdue {
  /** `blocked`: the worker does not answer; `idle`: it answers, but what it does should have ended. */
  loop: 'blocked' | 'idle'
  /** The bounded section that ran over, if it was one. */
  section: Section | null
  limitMs: number
  waitedMs: number
}

export interface Clock {
  /** Now, milliseconds since the epoch. */
  now: number
  /** How long the worker has been silent while the main process itself was not busy. */
  silentMs: number
  /** When the present stage began. */
  stageSince: number
}

/** A worker counts as not answering after this silence; below it a long tick of the loop is normal. */
export const SILENCE_MS = 600

/** A worker that looks at its own heap may be away for so long; on a machine that gives it a tenth of a core it is. */
const DUMP_MS = 60_000

export function findOverdue(
  stage: Stage,
  state: WorkerState | undefined,
  clock: Clock,
  limits: Limits,
): Overdue | undefined {
  const { now } = clock
  const blocked = clock.silentMs >= SILENCE_MS
  const loop = blocked ? 'blocked' : 'idle'
  const over = (since: number, limitMs: number, section: Section | null = null, grace = 0): Overdue | undefined =>
    now - since > limitMs + grace ? { loop, section, limitMs, waitedMs: now - since } : undefined

  if (stage === 'start') return over(clock.stageSince, limits.start)
  if (stage === 'stop') return over(clock.stageSince, limits.stop, null, limits.grace)
  // Not even the tracker answered yet: module loading of vitest itself, its environment, or a setup file.
  if (!state) return over(clock.stageSince, limits.collect)

  // It looks at its own heap, and whatever else is open waits for that.
  if (state.phase === 'dump') return over(Math.max(state.at, clock.stageSince), DUMP_MS)

  const inside = (section: Section): boolean => section.timeout > 0 && Number.isFinite(section.timeout)
  for (const section of state.sections) {
    if (!inside(section)) continue
    const found = over(section.start, section.timeout, section, limits.grace)
    if (found) return found
  }
  if (state.sections.some(inside)) return undefined

  const since = Math.max(state.at, clock.stageSince)
  if (state.phase === 'collect') return over(since, limits.collect)
  // The tracker saw no file begin: a runner of the user's own that it does not know. While it answers, it is left alone.
  if (state.phase === 'start' && !blocked) return undefined
  if (blocked) return over(Math.max(since, now - clock.silentMs), limits.blocked)
  if (state.phase === 'teardown') return over(since, limits.teardown, null, limits.grace)
  return over(since, limits.untimed)
}

/** The run was interrupted: a worker that does not answer is not waited for until its limit passes. */
export function unresponsive(stage: Stage, state: WorkerState | undefined, clock: Clock): Overdue | undefined {
  if (stage !== 'run' || !state || state.phase === 'dump' || clock.silentMs < SILENCE_MS) return undefined
  const section = state.sections[0] ?? null
  const waitedMs = clock.now - (section?.start ?? state.at)
  return { loop: 'blocked', section, limitMs: section?.timeout ?? waitedMs, waitedMs }
}

/** Milliseconds until the next bounded section is overdue; undefined when none is open. */
export function nextLimit(state: WorkerState | undefined, now: number, limits: Limits): number | undefined {
  let next: number | undefined
  for (const { start, timeout } of state?.sections ?? []) {
    const left = start + timeout + limits.grace - now
    if (timeout > 0 && left > 0 && (next === undefined || left < next)) next = left
  }
  return next
}
