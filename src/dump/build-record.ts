import type { ActorFact, TaskFact } from '../inspect/actors.ts'
import { startOf } from './children.ts'
import { firstUser } from './classes/common.ts'
import type { AwaitFrame, Frame, Handle, HangFacts, OtherThread, Verdict, WaitedFor } from './facts.ts'
import { type RedactNames, Redactor } from './redact.ts'
import { reproduceHang } from './reproduce.ts'
import {
  DUMP_FORMAT,
  type DumpActor,
  type DumpAwait,
  type DumpFrame,
  type DumpOther,
  type DumpRecord,
  type DumpResource,
  type DumpTask,
  type DumpVerdict,
  type DumpWait,
  type DumpWaitedFor,
} from './schema.ts'
import { stateWords } from './stream-waits.ts'
import { waitReason } from './wait-reason.ts'
import { sameLine } from './words.ts'

/** Options of {@link buildRecord}. */
export interface BuildOptions {
  /** Names whose values are hidden, beside the built-in list. */
  redact?: RedactNames
  /** Values that were hidden before, by the redactor that the facts went through. */
  redacted?: number
}

/** A dump is for reading: more handles than this tell nothing more. */
const MOST_RESOURCES = 200

/** What this version of harrow does not look at; said in every dump. */
function notTaken(facts: HangFacts): string[] {
  return [
    ...(facts.handles ? [] : ['creation sites of active resources were not recorded: only their kinds are counted']),
  ]
}

/**
 * The dump record of a hang, ready to be written. Secrets are hidden once more here, so that nothing reaches a file that
 * did not go through a {@link Redactor}.
 */
export function buildRecord(original: HangFacts, judged: Verdict, options: BuildOptions = {}): DumpRecord {
  const redactor = new Redactor(options.redact)
  const facts = redactor.facts(original)
  // Counted before the verdict, which quotes what was counted already.
  const redacted = (options.redacted ?? 0) + redactor.count
  const verdict = verdictOf(judged, redactor)
  return {
    format: DUMP_FORMAT,
    header: {
      test: facts.test,
      file: facts.file,
      phase: facts.phase,
      ...(facts.hook !== null && { hook: facts.hook }),
      limitMs: facts.limitMs,
      waitedMs: facts.waitedMs,
      at: facts.at,
      backend: facts.pool,
      ...(facts.project !== undefined && { project: facts.project }),
      pid: facts.pid,
      run: facts.run,
      node: facts.node,
      platform: facts.platform,
      worker: facts.worker,
      ...(facts.concurrent.length > 0 && { concurrent: facts.concurrent }),
      loop: facts.loop,
    },
    verdict,
    actors: [actorOf(facts), ...(facts.actors?.children ?? []).flatMap(others)],
    processes: facts.processes,
    reproduce: [reproduceHang(facts)],
    capture: {
      tookMs: facts.tookMs,
      missing: [...facts.missing, ...notTaken(facts)],
      redacted,
      ...(facts.budgets && { budgets: facts.budgets }),
    },
    ...(facts.waitedFor && { waitedFor: waitedFor(facts, facts.waitedFor) }),
    ...(facts.lost && {
      lost: {
        proven: facts.lost.proven,
        created: frames(facts.lost.created),
        awaited: frames(facts.lost.awaited),
        ...(facts.lost.note !== undefined && { note: facts.lost.note }),
        ...(facts.lost.streams && { streams: facts.lost.streams.map((one) => stateWords(one.stream)) }),
      },
    }),
    ...(facts.others && facts.others.length > 0 && { others: facts.others.map((one) => otherOf(facts, one)) }),
    ...(facts.fakeTimers && { fakeTimers: { ...facts.fakeTimers, installed: frames(facts.fakeTimers.installed) } }),
  }
}

/** The actors below the worker, each with its tasks; their stacks are not taken. */
function others(actor: ActorFact): DumpActor[] {
  const { path, pid, answered } = actor
  return [{ path, pid, answered, tasks: tasksOf(actor), resources: [] }, ...actor.children.flatMap(others)]
}

function tasksOf(actor: ActorFact): DumpTask[] {
  const walk = (task: TaskFact, parent: string | null): DumpTask[] => {
    const { id, name, kind, state, wait, created } = task
    const own: DumpTask = {
      id,
      name,
      kind,
      parent,
      state,
      ...(wait && {
        wait: {
          reason: wait.reason,
          sinceMs: wait.sinceMs,
          ...(wait.on !== null && { on: wait.on }),
          ...(wait.by !== null && { by: wait.by }),
        },
      }),
      ...(created && { created }),
    }
    return [own, ...task.children.flatMap((child) => walk(child, id))]
  }
  return actor.tasks.flatMap((task) => walk(task, null)).slice(0, MOST_TASKS)
}

/** The first ones tell what the rest does. */
const MOST_TASKS = 200

function verdictOf(judged: Verdict, redactor: Redactor): DumpVerdict {
  const { stack, ...verdict } = judged
  const at = stack.find((frame) => sameLine(frame.site, verdict.culprit))
  return {
    ...verdict,
    diagnosis: redactor.text(verdict.diagnosis),
    evidence: verdict.evidence.map((one) => redactor.text(one)),
    ...(verdict.cycles && { cycles: verdict.cycles.map((ring) => ring.map((one) => redactor.text(one))) }),
    ...(at && { culpritFrame: frame(redactor.frame(at)) }),
  }
}

function actorOf(facts: HangFacts): DumpActor {
  const { sync, crumb } = facts
  return {
    path: 'root',
    pid: facts.pid,
    answered: facts.loop === 'idle',
    ...(sync && { syncStack: frames(sync.frames), secondStack: frames(sync.second), microtasks: sync.microtasks }),
    ...(crumb && { crumb: { ...crumb, frames: frames(crumb.frames) } }),
    ...(facts.kernel.length > 0 && { kernel: facts.kernel }),
    ...(facts.awaits && {
      awaits: facts.awaits.map((one) => ({ ...awaitOf(one), ...waitOf(facts, one) })),
      owner: facts.owner,
    }),
    tasks: facts.actors ? tasksOf(facts.actors) : [],
    resources: (facts.handles ?? []).slice(0, MOST_RESOURCES).map(resource),
    ...(facts.resources && { resourceCounts: facts.resources }),
  }
}

function awaitOf(one: AwaitFrame): DumpAwait {
  const { id, awaitedBy, owner, heldBy, exact, count, members } = one
  return {
    ...frame(one),
    id,
    awaitedBy,
    owner,
    heldBy,
    exact,
    ...(count !== undefined && { count }),
    ...(members && { members }),
  }
}

function otherOf(facts: HangFacts, one: OtherThread): DumpOther {
  const { label, pid, threadId, state, sync, awaits, kernel, notes } = one
  const made =
    threadId === 0
      ? startOf(facts, pid)
      : pid === facts.pid
        ? firstUser(facts.handles?.find((handle) => handle.threadId === threadId)?.created)
        : undefined
  return {
    label,
    pid,
    threadId,
    state,
    ...(made && { created: made.site }),
    ...(sync && { syncStack: frames(sync.frames), secondStack: frames(sync.second), microtasks: sync.microtasks }),
    ...(awaits && { awaits: awaits.map(awaitOf) }),
    ...(kernel.length > 0 && { kernel }),
    ...(notes.length > 0 && { notes }),
  }
}

function waitOf(facts: HangFacts, one: AwaitFrame): { wait?: DumpWait } {
  const wait = waitReason(facts, one)
  return wait === undefined ? {} : { wait }
}

function resource({ id, kind, ref, ageMs, what, created, by }: Handle): DumpResource {
  const made = firstUser(created)
  return {
    id: String(id),
    type: kind,
    ref,
    ageMs,
    ...(what !== '' && { what }),
    ...(made && { created: made.site }),
    ...(made && by !== undefined && { by }),
  }
}

function waitedFor(facts: HangFacts, waited: WaitedFor): DumpWaitedFor {
  return {
    ...waited,
    children: waited.children.map((child) => {
      const created = startOf(facts, child.pid)
      return { ...child, ...(created && { created: created.site }) }
    }),
    signals: waited.signals.map((one) => ({ ...one, frames: frames(one.frames) })),
    fetches: waited.fetches.map((one) => ({ ...one, frames: frames(one.frames) })),
  }
}

const frames = (list: readonly Frame[]): DumpFrame[] => list.map(frame)

function frame(one: Frame): DumpFrame {
  return {
    fn: one.fn,
    site: one.site,
    ...(one.source !== undefined && { source: one.source }),
    ...(one.next !== undefined && { next: one.next }),
    ...(one.locals !== undefined && { locals: one.locals }),
    user: one.user,
  }
}
