/** Takes the evidence of a hang: every step has a bound, and what could not be had is said. */
import type { Phase } from '../../src/dump/facts.ts'
import { attachProcess, listenForInspectorUrl } from '../../src/inspect/attach-process.ts'
import { attachThread } from '../../src/inspect/attach-thread.ts'
import { CALL_TIMEOUT_MS, type InspectorClient } from '../../src/inspect/client.ts'
import type { Breadcrumb, LostPromise, ProcessFact, SyncStack } from '../../src/inspect/facts.ts'
import { explainProcess, explainStuck } from '../../src/inspect/kernel-wait.ts'
import type { LockFacts } from '../../src/inspect/lock-trace.ts'
import { captureSyncStack } from '../../src/inspect/sync-stack.ts'
import type { StreamNote } from '../../src/inspect/wait-facts.ts'
import type { StockPool, TestProject } from '../compat.ts'
import type {
  FinishedTest,
  FromWorker,
  HandleOpinion,
  Others,
  Section,
  SelfReport,
  WorkerPhase,
  WorkerState,
} from '../protocol.ts'
import { collectOwner, hookOwner, MARK, testOwner } from '../protocol.ts'
import type { Run } from '../run.ts'
import { isUserScript } from '../user-code.ts'
import { settled } from '../wait.ts'
import { quietInspector } from './chatter.ts'
import type { Overdue, Stage } from './deadlines.ts'
import { lookAtOthers, processTable } from './others.ts'
import type { Patient } from './patient.ts'
import { blame, parseSnapshot } from './snapshot.ts'
import { starvation } from './starvation.ts'

/** Who is watched. */
export interface Context {
  run: Run
  project: TestProject
  patient: Patient
  base: StockPool
  /** Files of the present request. */
  files: string[]
  /** When the present request began, milliseconds since the epoch. */
  since: number
}

/** Everything that was found, positions still those of the running code. */
export interface Evidence {
  context: Context
  /** Absolute path of the test file; null at the start and stop of a worker. */
  file: string | null
  /** Task id of the hung test. */
  test: string | null
  /** Task id of the suite whose hook hangs. */
  suite: string | null
  hook: string | null
  phase: Phase
  /** Task ids of tests that ran at the same time. */
  concurrent: string[]
  limitMs: number
  waitedMs: number
  at: string
  loop: 'blocked' | 'idle'
  sync: SyncStack | null
  /** Why there is no stack although JavaScript may be running; null when the thread was asked and did not stop. */
  stackError: string | null
  crumb: Breadcrumb | null
  kernel: string[]
  self: SelfReport | null
  lost: {
    proven: boolean
    promise: LostPromise | null
    note?: string
    locks?: LockFacts | null
    streams?: StreamNote[]
    opinions?: HandleOpinion[]
  } | null
  /** Results that vitest may not have reported. */
  finished: FinishedTest[]
  /** Threads and processes that the worker's code has started. */
  others: Others | null
  processes: ProcessFact[]
  missing: string[]
  tookMs: number
  /** The worker was ended; false for a plain timeout of vitest's. */
  ended: boolean
}

/** A breadcrumb this old means that the thread is inside the call and not between two calls. */
const CRUMB_MS = 250
const ATTACH_MS = 1500
const PAUSE_MS = 1000
/** A heap of the largest size that is dumped at all takes about this long (DESIGN.md). */
export const SELF_DUMP_MS = 20_000

const PHASES: Record<WorkerPhase, Phase> = {
  start: 'start',
  collect: 'collect',
  suite: 'test',
  hook: 'hook',
  test: 'test',
  teardown: 'teardown',
  between: 'after-tests',
  dump: 'test',
  stop: 'after-tests',
}

const epoch = (): number => performance.timeOrigin + performance.now()

/** Evidence of a worker that is to be ended; `recovered` when it turned out to be moving again. */
export async function collectEvidence(
  context: Context,
  stage: Stage,
  overdue: Overdue,
): Promise<Evidence | 'recovered'> {
  const { patient } = context
  const began = performance.now()
  let state = patient.newestState()
  // Of several tests that run at once, a blocked thread is blamed on the one whose code it runs, not on the first overdue.
  const section = overdue.loop === 'blocked' && (state?.running.length ?? 0) > 1 ? null : overdue.section
  const evidence: Evidence = {
    ...blank(context, stage, state, section),
    loop: overdue.loop,
    limitMs: overdue.limitMs,
    waitedMs: overdue.waitedMs,
    ended: true,
  }
  const describe = (newer: WorkerState): void => {
    state = newer
    Object.assign(evidence, whose(context, stage, newer, section))
    evidence.crumb = liveCrumb(newer)
  }

  if (overdue.loop === 'idle') {
    const answer = await patient.ask('dump', null, SELF_DUMP_MS)
    if (answer && movedOn(stage, overdue, state, answer.state)) return 'recovered'
    if (answer) {
      describe(answer.state)
      evidence.self = answer.report
      evidence.others = answer.report.others ?? null
      evidence.missing.push(...answer.report.notes)
    } else {
      evidence.missing.push('the worker did not look at itself when it was asked')
      evidence.loop = 'blocked'
    }
  }
  let attached: Attached | undefined
  let threads: number[] = []
  const seeOthers = async (): Promise<void> => {
    if (patient.options.othersMs === 0) return
    evidence.others ??= await lookAtOthers(patient, context.project.vitest, attached?.wholeProcess ?? threads)
  }
  try {
    if (evidence.loop === 'blocked') {
      const pongBefore = patient.lastPong
      if (state?.sigusr1 && patient.process && !patient.opener) {
        evidence.missing.push('no JavaScript stack: the test listens to SIGUSR1, the signal that opens the inspector')
        evidence.stackError = 'the test listens to SIGUSR1, the signal that opens the inspector'
      } else if (evidence.crumb && evidence.crumb.call !== 'Atomics.wait') {
        evidence.missing.push(`no JavaScript stack: the thread is inside ${evidence.crumb.call}`)
      } else {
        attached = await attach(context, evidence)
        const seen = attached && (await stackOf(attached, evidence))
        if (seen) {
          evidence.sync = seen.stack
          const snapshot = parseSnapshot(seen.state)
          if (snapshot && movedOn(stage, overdue, state, snapshot.state)) {
            // Not every transition is written: the record would name the ended section again at each look, for ever.
            patient.state = snapshot.state
            return 'recovered'
          }
          if (snapshot) {
            describe(snapshot.state)
            blame(evidence, snapshot.current)
            evidence.finished = snapshot.finished
            threads = snapshot.threads
          }
        }
      }
      if (!evidence.sync) {
        if (patient.lastPong > pongBefore && stage === 'run') return 'recovered'
        evidence.kernel = await explainStuck(patient.pid, patient.process ? undefined : (patient.tid ?? undefined))
      }
      await seeOthers()
    }
  } finally {
    if (attached) await settled(attached.client.close(), 1000)
  }
  if (evidence.loop === 'idle') evidence.kernel = await idleKernel(patient)
  evidence.processes = evidence.others?.table ?? (await processTable(patient))
  evidence.missing.push(...(evidence.others?.notes ?? []))
  evidence.tookMs = performance.now() - began
  return evidence
}

/** What was overdue has ended while we looked: whatever runs now is not to blame. */
function movedOn(stage: Stage, overdue: Overdue, before: WorkerState | undefined, after: WorkerState): boolean {
  const { section } = overdue
  if (stage !== 'run') return false
  if (!section) return before !== undefined && before.phase !== after.phase && before.seq < after.seq
  // A record holds whole milliseconds.
  return !after.sections.some((s) => s.test === section.test && Math.round(s.start) === Math.round(section.start))
}

/** Evidence of a test or hook whose own limit passed while the worker was well: the worker took the dump itself. */
export async function evidenceOfTimeout(
  context: Context,
  message: FromWorker & { [MARK]: 'timeout' },
): Promise<Evidence> {
  const { section, state, report } = message
  const others = report.others ?? null
  const [processes, kernel] = await Promise.all([
    others?.table ?? processTable(context.patient),
    idleKernel(context.patient),
  ])
  return {
    ...blank(context, 'run', state, section),
    loop: 'idle',
    limitMs: section.timeout,
    waitedMs: Math.max(section.timeout, message.waitedMs),
    self: report,
    others,
    missing: [...report.notes, ...(others?.notes ?? [])],
    processes,
    kernel,
    tookMs: report.tookMs,
    ended: false,
  }
}

/** The label that marks what hangs in the await graph. */
export function ownerOf(evidence: Evidence): string | null {
  if (evidence.test !== null) return testOwner(evidence.test)
  if (evidence.phase === 'collect' && evidence.file) return collectOwner(evidence.file)
  if (evidence.hook) return hookOwner(evidence.hook, evidence.suite)
  return null
}

function blank(
  context: Context,
  stage: Stage,
  state: WorkerState | undefined,
  section: Section | null,
): Omit<Evidence, 'loop' | 'limitMs' | 'waitedMs' | 'ended'> {
  return {
    context,
    ...whose(context, stage, state, section),
    at: new Date().toISOString(),
    sync: null,
    stackError: null,
    crumb: state ? liveCrumb(state) : null,
    kernel: [],
    self: null,
    lost: null,
    finished: [],
    others: null,
    processes: [],
    missing: state ? [] : ['the worker left no state record: it hung before its tracker started'],
    tookMs: 0,
  }
}

function whose(context: Context, stage: Stage, state: WorkerState | undefined, section: Section | null) {
  const file = stage === 'run' ? (state?.file ?? context.files[0] ?? null) : null
  if (stage !== 'run') {
    return {
      file,
      test: null,
      suite: null,
      hook: null,
      concurrent: [],
      phase: (stage === 'start' ? 'start' : 'after-tests') as Phase,
    }
  }
  if (!state) return { file, test: null, suite: null, hook: null, concurrent: [], phase: 'collect' as Phase }
  const running = state.running.map((r) => r.id)
  const test = section ? section.test : running.length === 1 ? running[0]! : null
  const hook = section ? section.hook : state.hook
  const concurrent = running.filter((id) => id !== test)
  const phase: Phase = section ? (section.hook ? 'hook' : 'test') : PHASES[state.phase]
  return { file, test, suite: state.suite, hook, concurrent, phase }
}

function liveCrumb(state: WorkerState): Breadcrumb | null {
  return state.crumb && epoch() - state.crumb.since > CRUMB_MS ? state.crumb : null
}

/** What an idle worker has under way in the system: its threadpool, locks, connections that are not made. */
async function idleKernel(patient: Patient): Promise<string[]> {
  if (!patient.process) return explainProcess(patient.pid).filter((sentence) => /\bthreadpool\b/.test(sentence))
  const [first, ...rest] = await explainStuck(patient.pid)
  return first === undefined || first === PLAIN_IDLE ? rest : [first, ...rest]
}

const PLAIN_IDLE = 'main thread is idle in its event loop'

interface Attached {
  client: InspectorClient
  /** The connection when it leads to the main thread of a process of the worker's own, and with that to its threads. */
  wholeProcess: InspectorClient | undefined
  /** By how much limits are stretched, see {@link starvation}. */
  slow: number
}

async function attach(context: Context, evidence: Evidence): Promise<Attached | undefined> {
  const { patient } = context
  try {
    const fork = patient.process
    if (fork?.pid !== undefined) {
      if (fork.stderr) quietInspector(fork.stderr, context.project.vitest.logger.errorStream)
      const send = patient.opener
      const slow = starvation(fork.pid)
      const client = await attachProcess(fork.pid, {
        ...(send && { send }),
        ...(fork.stderr && { url: listenForInspectorUrl(fork.stderr) }),
        deadlineMs: Math.round(ATTACH_MS * slow),
      })
      const post: InspectorClient['post'] = (method, params, ms = CALL_TIMEOUT_MS) =>
        client.post(method, params, ms * slow)
      return { client: { post, on: client.on, close: () => client.close() }, wholeProcess: client, slow }
    }
    if (!patient.thread) return undefined
    return { client: await attachThread(patient.thread.threadId), wholeProcess: undefined, slow: 1 }
  } catch (error) {
    noStack(evidence, error)
    return undefined
  }
}

async function stackOf(
  { client, slow }: Attached,
  evidence: Evidence,
): Promise<{ stack: SyncStack; state: unknown } | undefined> {
  try {
    const seen = await captureSyncStack(client, {
      isUser: isUserScript,
      stateExpression: `globalThis[Symbol.for('harrow.worker')]?.snapshot()`,
      pauseMs: Math.round(PAUSE_MS * slow),
    })
    if (!seen) evidence.missing.push('no JavaScript stack: the thread did not stop at a line of JavaScript in time')
    return seen
  } catch (error) {
    noStack(evidence, error)
    return undefined
  }
}

function noStack(evidence: Evidence, error: unknown): void {
  evidence.stackError = error instanceof Error ? error.message : String(error)
  evidence.missing.push(`no JavaScript stack: ${evidence.stackError}`)
}
