/** The way from evidence to a report: map, redact, judge, write. Loaded at the first hang. */
import { resolve } from 'node:path'
import { buildRecord } from '../src/dump/build-record.ts'
import { classify } from '../src/dump/classify.ts'
import type { AwaitFrame, Frame, Handle, HangFacts, LockWaits, OtherThread, Verdict } from '../src/dump/facts.ts'
import { Redactor } from '../src/dump/redact.ts'
import { createMapper, type Mapper } from '../src/dump/source-map.ts'
import { readRegularFile } from '../src/dump/source-text.ts'
import { seconds } from '../src/dump/words.ts'
import { writeDump } from '../src/dump/write.ts'
import type { ActorFact, TaskFact } from '../src/inspect/actors.ts'
import type { RawFrame } from '../src/inspect/facts.ts'
import type { LockFacts } from '../src/inspect/lock-trace.ts'
import { kindHint } from '../src/inspect/resources/hints.ts'
import type { TargetFacts } from '../src/inspect/target.ts'
import type { ThreadFacts } from '../src/inspect/threads.ts'
import { type SerializedError, type Task, taskById, titles, transformMap } from './compat.ts'
import { type Evidence, ownerOf } from './pool/evidence.ts'
import type { Others } from './protocol.ts'
import type { Hang, Run } from './run.ts'
import { withOpinions } from './second-opinion.ts'
import { SourceFacts } from './source-facts.ts'
import { testSource } from './test-source.ts'
import { isUserScript } from './user-code.ts'

/** @param n number of the dump within the run */
export function makeHang(run: Run, evidence: Evidence, n: number): Hang {
  const redactor = new Redactor(run.options.redact)
  const facts = redactor.facts(factsOf(run, evidence))
  const verdict = classify(facts)
  const record = buildRecord(facts, verdict, { redact: run.options.redact, redacted: redactor.count })
  const dir = resolve(run.root, run.options.dumpDir)
  const name = facts.test?.join(' ') ?? facts.hook ?? facts.phase
  const written = writeDump(dir, { file: facts.file.path, test: name, pid: facts.pid, n }, record)
  const dump = 'error' in written ? null : { txt: run.relative(written.txt), json: run.relative(written.json) }
  return {
    evidence,
    facts,
    verdict,
    dump,
    dumpError: 'error' in written ? written.error : null,
    error: hangError(facts, verdict, dump?.txt ?? null, run.root),
    summary: {
      class: verdict.class,
      confidence: verdict.confidence,
      diagnosis: verdict.diagnosis,
      dump: dump?.txt ?? null,
    },
  }
}

function factsOf(run: Run, evidence: Evidence): HangFacts {
  const { context, self } = evidence
  const mapper = createMapper((path) => transformMap(context.project, path), run.root)
  const frames = (raw: RawFrame[] | undefined): Frame[] => (raw ?? []).map((frame) => mapFrame(mapper, frame))
  const task = blamed(run, evidence, frames(evidence.sync?.frames))
  const file = evidence.file ?? context.files[0] ?? null
  const source = task && file ? testSource(file, task.name) : undefined
  const line = task?.location?.line ?? source?.line ?? 1
  const suite = !task && evidence.hook && evidence.suite ? taskById(run.vitest, evidence.suite) : undefined
  const chain = task ? titles(task) : suite ? titles(suite) : []
  const crumb = evidence.crumb
  const sources = new SourceFacts((path) => readRegularFile(resolve(run.root, path)))
  const awaits = self?.async ? sources.linkCallbacks(self.async.suspended.map((f) => mapper.awaitFrame(f))) : null
  const onClock = awaits?.some(({ heldBy }) => heldBy.some((held) => held.fakeClock === true)) === true
  const synced = evidence.sync && syncOf(evidence.sync, frames, sources)
  return {
    test: chain.length > 0 ? chain : null,
    concurrent: evidence.concurrent
      .filter((id) => id !== task?.id)
      .map((id) => taskById(run.vitest, id))
      .filter((t) => t !== undefined)
      .map(titles),
    file: { path: file ? run.relative(file) : context.project.name || 'vitest', line },
    phase: evidence.phase,
    ...(source?.body && { body: source.body }),
    hook: evidence.hook,
    limitMs: evidence.limitMs,
    waitedMs: evidence.waitedMs,
    at: evidence.at,
    pool: context.base,
    ...(run.vitest.projects.length > 1 && context.project.name !== '' && { project: context.project.name }),
    pid: context.patient.pid,
    worker: context.patient.options.number,
    run: run.id,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    loop: evidence.loop,
    sync: synced,
    crumb: crumb && {
      call: crumb.call,
      detail: crumb.detail,
      sinceMs: Date.parse(evidence.at) - crumb.since,
      frames: frames(crumb.frames),
    },
    stackError: evidence.stackError,
    kernel: evidence.kernel,
    awaits,
    ...(self?.async?.nodes === 0 && { holders: 'unknown' as const }),
    owner: ownerOf(evidence),
    lost: evidence.lost && {
      proven: evidence.lost.proven,
      created: frames(evidence.lost.promise?.created),
      awaited: frames(evidence.lost.promise?.awaited),
      ...(evidence.lost.streams && {
        streams: evidence.lost.streams.map(({ stream, listens, destroyed }) => ({
          stream,
          listens: listens.map((one) => ({ event: one.event, frames: frames(one.frames) })),
          destroyed: frames(destroyed),
        })),
      }),
      ...(evidence.lost.note && { note: evidence.lost.note }),
    },
    ...(evidence.lost?.locks && { locks: mapLocks(evidence.lost.locks, (raw) => mapFrame(mapper, raw)) }),
    fakeTimers: self?.fakeTimers ? { ...self.fakeTimers, installed: frames(self.fakeTimers.installed) } : null,
    ...(onClock && { clocks: sources.clockCalls(filesOf(awaits, file && run.relative(file))) }),
    handles: handlesOf(evidence, frames),
    ...(self?.wait && {
      waitedFor: {
        ...self.wait,
        signals: self.signals.map((one) => ({ ...one, frames: frames(one.frames) })),
        fetches: self.fetches.map((one) => ({ ...one, frames: frames(one.frames) })),
      },
    }),
    ...(evidence.others && { others: othersOf(evidence.others, context.patient.pid, mapper, frames) }),
    ...(self?.actors && { actors: mapActor(self.actors, (path) => run.relative(path)) }),
    resources: self?.resources ?? null,
    processes: evidence.processes,
    missing: [
      ...evidence.missing,
      ...(evidence.lost?.note ? [evidence.lost.note] : []),
      ...(self?.async?.notes ?? []),
      ...context.patient.notes,
    ],
    tookMs: evidence.tookMs,
    ...(evidence.others && { budgets: [budgetOf(evidence.others, context.patient.options.othersMs)] }),
  }
}

function syncOf(
  sync: NonNullable<Evidence['sync']>,
  map: (raw: RawFrame[]) => Frame[],
  sources: SourceFacts,
): HangFacts['sync'] {
  const [found, second] = [map(sync.frames), map(sync.second)]
  const user = [...found, ...second].find((frame) => frame.user)
  const turn = sync.microtasks === 'turning' && user ? sources.nextTurn(user) : undefined
  return { frames: found, second, microtasks: sync.microtasks, ...(turn && { turn }) }
}

/** The test file and those of the suspended functions. */
function filesOf(awaits: AwaitFrame[] | null, file: string | null): string[] {
  const paths = (awaits ?? []).filter((one) => one.user).map(({ site }) => site.path)
  return [...new Set([...(file === null ? [] : [file]), ...paths])].slice(0, MOST_FILES)
}

const MOST_FILES = 8

/** With concurrent tests the state names several: the one whose code stands innermost in the test file is blamed. */
function blamed(run: Run, evidence: Evidence, frames: Frame[]): Task | undefined {
  if (evidence.test !== null) return taskById(run.vitest, evidence.test)
  if (evidence.phase === 'hook' || evidence.concurrent.length === 0) return undefined
  const tasks = evidence.concurrent.map((id) => taskById(run.vitest, id)).filter((t) => t !== undefined)
  const file = evidence.file
  const inner = frames.find((f) => file !== null && f.user && f.site.path === run.relative(file))
  if (!inner || file === null) return tasks[0]
  const placed = tasks
    .map((t) => ({ t, line: t.location?.line ?? testSource(file, t.name)?.line ?? 0 }))
    .filter((p) => p.line > 0 && p.line <= inner.site.line)
  const best = placed.sort((a, b) => b.line - a.line)[0]?.t ?? tasks[0]
  if (best) {
    evidence.concurrent = evidence.concurrent.filter((id) => id !== best.id)
    evidence.test = best.id
  }
  return best
}

/** Sites of tasks come from stacks as text: their paths are made relative, and vitest's own modules keep their lines. */
function mapActor(actor: ActorFact, relative: (path: string) => string): ActorFact {
  const task = (one: TaskFact): TaskFact => ({
    ...one,
    created: one.created && { ...one.created, path: relative(one.created.path) },
    children: one.children.map(task),
  })
  return { ...actor, tasks: actor.tasks.map(task), children: actor.children.map((one) => mapActor(one, relative)) }
}

function budgetOf({ tookMs }: Others, budgetMs: number): string {
  return `threads and processes of the test: ${seconds(budgetMs, 1)}, and what it takes to leave them; took ${seconds(tookMs)}`
}

function handlesOf({ self, lost }: Evidence, frames: (raw: RawFrame[]) => Frame[]): Handle[] | null {
  if (!self?.handles) return null
  const handles = self.handles.map((one) => ({ ...one, created: frames(one.created), close: kindHint(one.kind) }))
  return withOpinions(handles, lost?.opinions ?? [], frames)
}

/** The threads of the worker first, then the processes below it, each with its own threads. */
function othersOf(
  { threads, processes }: Others,
  pid: number,
  mapper: Mapper,
  frames: (raw: RawFrame[]) => Frame[],
): OtherThread[] {
  const seen = (facts: TargetFacts | null) => ({
    state: facts?.state ?? ('unseen' as const),
    sync: facts?.sync ? { ...facts.sync, frames: frames(facts.sync.frames), second: frames(facts.sync.second) } : null,
    awaits: facts?.async ? facts.async.suspended.map((one) => mapper.awaitFrame(one)) : null,
  })
  const thread = (one: ThreadFacts, of: number, tail: string): OtherThread => ({
    label: `worker thread ${one.threadId}${one.name === '' ? '' : ` (${one.name})`}${tail}`,
    pid: of,
    threadId: one.threadId,
    ...seen(one),
    kernel: [],
    notes: one.notes,
  })
  return [
    ...threads.map((one) => thread(one, pid, '')),
    ...processes.flatMap((one): OtherThread[] => [
      {
        label: `child ${one.pid} ${one.command.replace(/^\S*\/(?=node(?: |$))/, '')}`,
        pid: one.pid,
        threadId: 0,
        ...seen(one.main),
        kernel: one.kernel,
        notes: [...one.notes, ...(one.main?.notes ?? [])],
      },
      ...one.threads.map((of) => thread(of, one.pid, ` of child ${one.pid}`)),
    ]),
  ]
}

function mapLocks({ waits, others }: LockFacts, map: (raw: RawFrame) => Frame): LockWaits {
  return {
    waits: waits.map((wait) => ({
      ...wait,
      inner: wait.inner.map(map),
      call: map(wait.call),
      outer: wait.outer.map(map),
      holders: wait.holders.map((holder) => ({ ...holder, taken: map(holder.taken) })),
    })),
    others: others.map(map),
  }
}

function mapFrame(mapper: Mapper, raw: RawFrame): Frame {
  const frame = mapper.frame(raw)
  return { ...frame, user: frame.user && raw.at !== null && isUserScript(raw.at.url) }
}

function hangError(facts: HangFacts, verdict: Verdict, dump: string | null, root: string): SerializedError {
  const again = dump ? ` · dump ${dump}` : ''
  const text = `${verdict.diagnosis}\nclass ${verdict.class} (${verdict.confidence})${again}`
  const stack = verdict.stack
    .filter((frame) => frame.user)
    .map(
      (frame) => `    at ${frame.fn} (${resolve(root, frame.site.path)}:${frame.site.line}:${frame.site.column ?? 1})`,
    )
  const at = stack.length > 0 ? stack : [`    at <anonymous> (${resolve(root, facts.file.path)}:${facts.file.line}:1)`]
  return { name: 'HangError', message: text, stack: `HangError: ${text}\n${at.join('\n')}` }
}
