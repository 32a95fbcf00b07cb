/**
 * Runs a test once more, alone, in a worker that traces promises, and reports nothing of it to vitest: the only result
 * is which promise was lost, where it was made and where it was awaited.
 */
import { below, type FileTask, type MainRpc, type RunContext } from '../compat.ts'
import type { FromWorker, TraceOrder } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import { needsOpinion } from '../second-opinion.ts'
import { isUserScript } from '../user-code.ts'
import { settled } from '../wait.ts'
import type { Limits } from './deadlines.ts'
import { type Evidence, ownerOf } from './evidence.ts'
import type { Patient, PatientEvents } from './patient.ts'
import { answer, isRpcRequest, refuse } from './rpc.ts'
import { isQueued } from './worth-tracing.ts'

export interface TraceRequest {
  evidence: Evidence
  limits: Limits
  rpc: MainRpc
  startMessage: object
  runMessage: { context?: RunContext }
  patient(trace: TraceOrder, events: PatientEvents, secondOpinion: boolean): Patient
  retire(patient: Patient): Promise<void>
  /** Settles when the run is cancelled: nobody waits for the answer any more. */
  cancelled: Promise<void>
  files(path: string): FileTask[]
}

/** Calls of the worker that change what vitest reports; they are answered and forgotten. */
const SILENT = new Set([
  'onQueued',
  'onCollected',
  'onTaskUpdate',
  'onUserConsoleLog',
  'onUnhandledError',
  'onAsyncLeaks',
  'onAfterSuiteRun',
  'onTaskArtifactRecord',
  'onTestBenchmark',
  'onTestModuleDependencies',
  'snapshotSaved',
  'onCancel',
  'writeBenchmarkResult',
])

/** A collection that hung for a minute needs no minute to hang again. */
const COLLECT_MS = 6000
/** Tracing slows the test down, and a look takes its time; when there is something to tell, it is told at once. */
const LOOK_MS = 3000
/** For the start of the worker and a busy machine. */
const SLOW_MS = 25_000

/** A slow import or hook before what hung runs again, too: so long at most. */
const LEAD_MS = 120_000

/** Earlier tests of the file run again for so long at most, the nearest ones. */
const EARLIER_MS = 10_000

/**
 * The hung test alone; when it hangs in a queue, or ends alone, then with the tests that ran before it or beside it: one of
 * them may have left behind, or still have, what it waits for.
 */
export async function traceLost(request: TraceRequest): Promise<Lost> {
  const found = await traceTest(request)
  if (!needsOpinion(request.evidence.self?.handles ?? [], isUserScript)) return found
  // A run of its own: with async_hooks on, the promises that are lost are not seen to be collected.
  const { opinions = [] } = await traceOnce(request, NONE_EARLIER, true)
  return { ...found, opinions }
}

type Lost = NonNullable<Evidence['lost']>

async function traceTest(request: TraceRequest): Promise<Lost> {
  const earlier = earlierTests(request)
  const beside = concurrentTests(request)
  const all = { ids: [...new Set([...earlier.ids, ...beside])], ms: earlier.ms }
  const queued = isQueued(request.evidence)
  const first = await traceOnce(request, queued ? all : NONE_EARLIER)
  const found = first.note === ENDED_ALONE && !queued && all.ids.length > 0 ? await traceOnce(request, all) : first
  // With others beside it, what was lost may be theirs.
  return beside.length > 0 && found.proven && (queued || found !== first)
    ? { ...found, proven: false, promise: null }
    : found
}

const ENDED_ALONE = 'traced again: the test ended when it ran alone'

/** Part of the limit that only a test that hung has used up. */
const HUNG = 0.9

interface Earlier {
  ids: string[]
  /** How long they took. */
  ms: number
}

const NONE_EARLIER: Earlier = { ids: [], ms: 0 }

async function traceOnce(request: TraceRequest, earlier: Earlier, secondOpinion = false): Promise<Lost> {
  const { evidence, limits, rpc } = request
  const path = evidence.file
  const none = (note: string): Lost => ({ proven: false, promise: null, note })
  if (path === null) return none('no trace: no file was running')
  const context = request.runMessage.context
  const spec = context?.files.find((f) => f.filepath === path)
  if (!context || !spec) return none('no trace: the file is not part of this request')

  type Told = FromWorker & { [MARK]: 'lost' }
  let found: (told: Told) => void = () => {}
  let ended: (note: string) => void = () => {}
  const outcome = new Promise<Told | string>((resolve) => {
    found = resolve
    ended = resolve
  })
  let started: () => void = () => {}
  const ready = new Promise<true>((resolve) => {
    started = () => resolve(true)
  })

  request.cancelled.then(() => ended('traced again: the run was cancelled'))
  // What stands in a queue is not collected: it is looked at when its limit has passed.
  const lookMs = isQueued(evidence) ? 0 : LOOK_MS
  const traceMs = (evidence.phase === 'collect' ? COLLECT_MS : evidence.limitMs) + lookMs
  const patient = request.patient(
    { owner: ownerOf(evidence), ms: traceMs },
    {
      message: (message) => {
        if (isRpcRequest(message)) return void serve(patient, rpc, message)
        const type = (message as { type?: string } | null)?.type
        if (type === 'started') started()
        else if (type === 'testfileFinished')
          ended(
            earlier.ids.length === 0 ? ENDED_ALONE : 'traced again: the test ended when it ran with those before it',
          )
      },
      report: (message: FromWorker) => {
        if (message[MARK] === 'lost') found(message)
      },
      error: (error) =>
        ended(`traced again: the traced worker failed: ${error instanceof Error ? error.message : String(error)}`),
      exit: (code, signal) => ended(`traced again: the traced worker exited (${signal ?? code})`),
    },
    secondOpinion,
  )
  const bound = traceMs + SLOW_MS + 3 * earlier.ms + Math.min(leadMs(evidence), LEAD_MS)
  try {
    await patient.start()
    patient.send(request.startMessage)
    if (!(await settled(ready, limits.start))) return none('no trace: the traced worker did not start')
    const ids = [...earlier.ids, ...testIds(request)]
    const files = [{ ...spec, testIds: ids, testLocations: undefined, testNamePattern: undefined }]
    patient.send({ ...request.runMessage, context: { ...context, files } })
    const result =
      (await settled(outcome, bound)) ?? `traced again: nothing was heard of it within ${Math.round(bound / 1000)} s`
    if (typeof result === 'string') return none(result)
    const { lost, locks, body, streams, opinions } = result
    if (lost.length === 0 && (locks === null || locks.waits.length === 0))
      return { ...none(NONE_LOST), streams, opinions }
    return { proven: body && lost.length > 0, promise: lost[0] ?? null, locks, streams, opinions }
  } finally {
    if (secondOpinion) evidence.missing.push(...patient.notes.filter((note) => note.startsWith('no second opinion')))
    await patient.kill()
    await request.retire(patient)
  }
}

/** So long the request ran until what hung began. */
function leadMs({ at, waitedMs, context }: Evidence): number {
  return Math.max(0, Date.parse(at) - context.since - waitedMs)
}

const NONE_LOST = 'traced again: no promise of it was lost when it ran alone'

/** Tests of the file that came to an end before the hung one, in order. */
function earlierTests({ evidence, files }: TraceRequest): Earlier {
  const file = evidence.file === null ? undefined : files(evidence.file)[0]
  if (!file || evidence.test === null || evidence.phase === 'collect') return { ids: [], ms: 0 }
  const tests = [...below(file)].filter((task) => task.type === 'test')
  const before = tests.slice(
    0,
    tests.findIndex((task) => task.id === evidence.test),
  )
  const earlier: Earlier = { ids: [], ms: 0 }
  for (const task of before.reverse()) {
    const ms = task.result?.duration ?? 0
    // One that hung itself would do so again.
    if (task.mode !== 'run' || ms > HUNG * evidence.limitMs) continue
    if (earlier.ms + ms > EARLIER_MS) break
    earlier.ms += ms
    earlier.ids.unshift(task.id)
  }
  return earlier
}

/** Tests that overlap with the hung one, those that have ended meanwhile as well. */
function concurrentTests({ evidence, files }: TraceRequest): string[] {
  const file = evidence.file === null ? undefined : files(evidence.file)[0]
  if (!file || evidence.test === null || evidence.phase !== 'test') return []
  const tests = [...below(file)].filter((task) => task.type === 'test' && task.mode === 'run')
  const isConcurrent = tests.some((task) => task.id === evidence.test && task.concurrent === true)
  const beside = tests.filter(
    (task) => evidence.concurrent.includes(task.id) || (isConcurrent && task.concurrent === true),
  )
  return beside.map(({ id }) => id).filter((id) => id !== evidence.test)
}

/** The hung test, or for a hook of a suite the first test behind it; nothing for a file that hangs while it is collected. */
function testIds({ evidence, files }: TraceRequest): string[] {
  if (evidence.test !== null) return [evidence.test]
  const file = evidence.file === null ? undefined : files(evidence.file)[0]
  if (!file || evidence.phase === 'collect') return ['none']
  const suite = [...below(file)].find((task) => task.id === evidence.suite) ?? file
  const first =
    [...below(suite)].find((task) => task.type === 'test' && task.mode === 'run') ??
    [...below(suite)].find((task) => task.type === 'test')
  return first ? [first.id] : ['none']
}

async function serve(patient: Patient, rpc: MainRpc, message: Parameters<typeof answer>[0]): Promise<void> {
  if (SILENT.has(message.m)) {
    if (message.i) patient.send(answer(message, undefined))
    return
  }
  try {
    const result = await (rpc[message.m] as ((...args: unknown[]) => unknown) | undefined)?.(...message.a)
    if (message.i) patient.send(answer(message, result))
  } catch (error) {
    if (message.i) patient.send(refuse(message, error))
  }
}
