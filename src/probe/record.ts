/** From the facts about a process to its dump record: positions mapped, secrets hidden, judged. */
import { buildRecord } from '../dump/build-record.ts'
import type { Frame, HangFacts, Verdict } from '../dump/facts.ts'
import { type RedactNames, Redactor } from '../dump/redact.ts'
import type { DumpActor, DumpProgram, DumpRecord, DumpResource } from '../dump/schema.ts'
import { createMapper, type Mapper } from '../dump/source-map.ts'
import type { Position, RawFrame } from '../inspect/facts.ts'
import type { ProcessFacts, ThreadLook } from './facts.ts'
import { isEval, lineIn, type Scripts } from './scripts.ts'
import { type JudgedThread, judgeProgram } from './verdict.ts'

/** How long the loop was watched before it was called blocked, milliseconds. */
const WATCHED_MS = 400

/** Options of {@link programRecord}. */
export interface RecordOptions {
  redact?: RedactNames
  /** Command that looks again. */
  again?: string
}

/** The dump record of a process. */
export function programRecord(facts: ProcessFacts, scripts: Scripts, options: RecordOptions = {}): DumpRecord {
  const redactor = new Redactor(options.redact)
  const main = facts.threads[0]
  const root = main?.about?.cwd ?? facts.outside.cwd ?? process.cwd()
  const mapper = createMapper((path) => scripts.mapOf(path), root)
  const outside = redactor.facts(threadFacts(facts, undefined, mapper))
  const threads = facts.threads.map((look): JudgedThread => {
    const own = redactor.facts(threadFacts(facts, look, mapper))
    return { look, facts: own, hot: look.hot.map((raw) => redactor.frame(mapFrame(mapper, look, raw))) }
  })
  const verdict = judgeProgram(facts, threads, outside)
  const record = (own: HangFacts): DumpRecord =>
    buildRecord(own, verdictFor(verdict, own), {
      ...(options.redact && { redact: options.redact }),
      redacted: redactor.count,
    })
  const first = record(threads[0]?.facts ?? outside)
  const actors = threads.map((thread) => actorOf(thread, record(thread.facts).actors[0]!, redactor))
  return {
    ...first,
    header: { ...first.header, program: programOf(facts, redactor), ...(main?.about && { node: main.about.version }) },
    actors: actors.length > 0 ? actors : first.actors.map((actor) => ({ ...actor, path: 'main', answered: false })),
    reproduce: options.again === undefined ? [] : [options.again],
    capture: {
      ...first.capture,
      tookMs: facts.tookMs,
      missing: notesOf(facts).map((note) => redactor.text(note)),
      redacted: redactor.count,
    },
  }
}

/** The frame at the culprit is looked for in the stack of the verdict, which is that of the main thread. */
const verdictFor = (verdict: Verdict, own: HangFacts): Verdict => ({
  ...verdict,
  stack: [...verdict.stack, ...(own.awaits ?? []).filter((one) => one.user)],
})

function programOf(
  { outside, threads, closed, wasOpen, debugged, reason }: ProcessFacts,
  redactor: Redactor,
): DumpProgram {
  const { command, cwd, uid, state, cpuPercent, rssBytes, ageMs } = outside
  const heapBytes = threads[0]?.about?.heapUsed
  return {
    command: redactor.text(command),
    ...(cwd !== null && { cwd }),
    ...(uid !== null && { uid }),
    state,
    ...(cpuPercent !== null && { cpuPercent }),
    ...(rssBytes !== null && { rssBytes }),
    ...(heapBytes !== undefined && { heapBytes }),
    ...(ageMs !== null && { ageMs: Math.round(ageMs) }),
    ...(reason === null ? { inspector: debugged ? 'debugger' : wasOpen ? 'open' : 'closed' } : { reason }),
    ...(closed !== null && { notAttached: closed }),
  }
}

function actorOf({ look, hot }: JudgedThread, actor: DumpActor, redactor: Redactor): DumpActor {
  const handles = (look.resources?.list ?? []).map(
    ({ type, ref, what }, i): DumpResource => ({
      id: `#${i + 1}`,
      type,
      ref,
      ...(what !== '' && { what: redactor.text(what) }),
    }),
  )
  // What has no handle of its own: timers, requests to the system.
  const others = Object.entries(look.resources?.counts ?? {})
    .filter(([type]) => /^(?:Timeout|Immediate)$|Req/.test(type))
    .map(([type, n]): DumpResource => ({ id: '', type, ref: true, what: n === 1 ? '1' : `${n} of them` }))
  const resources = [...handles, ...others]
  return {
    ...actor,
    path: threadName(look),
    answered: look.state === 'idle',
    ...(hot.length > 0 && look.state === 'idle' && { syncStack: frames(hot) }),
    resources,
    ...(look.resources && { resourceCounts: look.resources.counts }),
  }
}

function frames(list: readonly Frame[]): NonNullable<DumpActor['syncStack']> {
  return list.map(({ fn, site, source, user }) => ({ fn, site, ...(source !== undefined && { source }), user }))
}

/** `main`, `worker 2 "job"`. */
export function threadName({ threadId, name, url }: Pick<ThreadLook, 'threadId' | 'name' | 'url'>): string {
  if (threadId === 0) return 'main'
  const script = name !== '' ? `"${name}"` : (url.split(/[\\/]/).at(-1) ?? '')
  return `worker ${threadId}${script === '' ? '' : ` ${script}`}`
}

function notesOf({ outside, notes, closed, ended, threads }: ProcessFacts): string[] {
  const all = threads.flatMap((look) => {
    const own = [...look.notes, ...(look.async?.notes ?? [])]
    return look.threadId === 0 ? own : own.map((note) => `${threadName(look)}: ${note}`)
  })
  return [
    ...(ended && outside.state !== 'Z' ? ['the process ended while it was looked at'] : []),
    ...(closed !== null ? [`nothing was seen from inside: ${closed}`] : []),
    ...notes,
    ...all,
  ]
}

function mapFrame(mapper: Mapper, look: ThreadLook | undefined, raw: RawFrame): Frame {
  return withText(look, raw.at, mapper.frame(raw))
}

/** Code of the program's own that lies in no file is the user's as well, and its text is known to V8 only. */
function withText<F extends Frame>(look: ThreadLook | undefined, at: Position | null, frame: F): F {
  if (at === null) return frame
  const source = frame.source ?? lineIn(look?.texts ?? new Map(), at)
  return { ...frame, user: frame.user || isEval(at.url), ...(source !== undefined && { source }) }
}

/** @param look undefined: only what is known from outside */
function threadFacts(facts: ProcessFacts, look: ThreadLook | undefined, mapper: Mapper): HangFacts {
  const { outside, at, tookMs } = facts
  const map = (list: readonly RawFrame[]): Frame[] => list.map((raw) => mapFrame(mapper, look, raw))
  const script = look === undefined || look.threadId === 0 ? look?.about?.argv[1] : look.url
  const path = look !== undefined && look.threadId !== 0 ? threadName(look) : mainFile(mapper, script)
  return {
    test: null,
    concurrent: [],
    file: { path, line: 1 },
    phase: 'program',
    hook: null,
    limitMs: 0,
    waitedMs: WATCHED_MS,
    at,
    pool: 'process',
    pid: outside.pid,
    worker: look?.threadId ?? 0,
    run: '',
    node: look?.about?.version ?? '',
    platform: `${process.platform} ${process.arch}`,
    loop: look?.state === 'idle' ? 'idle' : 'blocked',
    sync: look?.sync ? { ...look.sync, frames: map(look.sync.frames), second: map(look.sync.second) } : null,
    crumb: null,
    kernel: look === undefined || look.threadId === 0 ? outside.kernel : [],
    awaits: look?.async
      ? look.async.suspended.map((one) => withText(look, one.at ?? one.definedAt, mapper.awaitFrame(one)))
      : null,
    owner: null,
    lost: null,
    fakeTimers: null,
    handles: [],
    resources: look?.resources?.counts ?? null,
    processes: outside.processes,
    missing: [],
    tookMs,
  }
}

function mainFile(mapper: Mapper, script: string | undefined): string {
  return script === undefined ? 'process' : mapper.site({ url: script, line: 1, column: 1 }).path
}
