/**
 * Runs a test once more, alone, in a worker that traces promises, and reports nothing of it to vitest: the only result
 * is which promise was lost, where it was made and where it was awaited.
 */
import type { LostPromise } from '../../src/inspect/facts.ts'
import { below, type FileTask, type MainRpc, type RunContext } from '../compat.ts'
import type { FromWorker } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import { settled } from '../wait.ts'
import type { Limits } from './deadlines.ts'
import type { Evidence } from './evidence.ts'
import type { Patient, PatientEvents } from './patient.ts'
import { answer, isRpcRequest, refuse } from './rpc.ts'

export interface TraceRequest {
  evidence: Evidence
  limits: Limits
  rpc: MainRpc
  startMessage: object
  runMessage: { context?: RunContext }
  patient(traceMs: number, events: PatientEvents): Patient
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
const SLOW_MS = 10_000

export async function traceLost(request: TraceRequest): Promise<NonNullable<Evidence['lost']>> {
  const { evidence, limits, rpc } = request
  const path = evidence.file
  const none = (note: string): NonNullable<Evidence['lost']> => ({ proven: false, promise: null, note })
  if (path === null) return none('no trace: no file was running')
  const context = request.runMessage.context
  const spec = context?.files.find((f) => f.filepath === path)
  if (!context || !spec) return none('no trace: the file is not part of this request')

  let found: (lost: { lost: LostPromise[]; body: boolean }) => void = () => {}
  let ended: (note: string) => void = () => {}
  const outcome = new Promise<{ lost: LostPromise[]; body: boolean } | string>((resolve) => {
    found = resolve
    ended = resolve
  })
  let started: () => void = () => {}
  const ready = new Promise<true>((resolve) => {
    started = () => resolve(true)
  })

  request.cancelled.then(() => ended('the run was cancelled'))
  const traceMs = (evidence.phase === 'collect' ? COLLECT_MS : evidence.limitMs) + LOOK_MS
  const patient = request.patient(traceMs, {
    message: (message) => {
      if (isRpcRequest(message)) return void serve(patient, rpc, message)
      const type = (message as { type?: string } | null)?.type
      if (type === 'started') started()
      else if (type === 'testfileFinished') ended('the test ended when it ran alone')
    },
    report: (message: FromWorker) => {
      if (message[MARK] === 'lost') found(message)
    },
    error: (error) => ended(`the traced worker failed: ${error instanceof Error ? error.message : String(error)}`),
    exit: (code, signal) => ended(`the traced worker exited (${signal ?? code})`),
  })
  const bound = traceMs + SLOW_MS
  try {
    await patient.start()
    patient.send(request.startMessage)
    if (!(await settled(ready, limits.start))) return none('no trace: the traced worker did not start')
    const files = [{ ...spec, testIds: testIds(request), testLocations: undefined, testNamePattern: undefined }]
    patient.send({ ...request.runMessage, context: { ...context, files } })
    const result = (await settled(outcome, bound)) ?? 'no promise of it was lost when it ran alone'
    if (typeof result === 'string') return none(`traced again: ${result}`)
    if (result.lost.length === 0) return none('traced again: no promise of it was lost when it ran alone')
    return { proven: result.body, promise: result.lost[0] ?? null }
  } finally {
    await patient.kill()
    await request.retire(patient)
  }
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
