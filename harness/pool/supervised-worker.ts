/**
 * The pool worker that vitest talks to. Around a stock worker it watches for hangs, and when one is found it takes the
 * evidence, ends the worker, speaks for it, and goes on with the rest of the file in a fresh one.
 */
import { EventEmitter } from 'node:events'
import type { FileTask, MainRpc, PoolOptions, PoolWorker, RunContext, StockPool, Task } from '../compat.ts'
import { fileTasks, mainRpc } from '../compat.ts'
import type { FromWorker } from '../protocol.ts'
import { MARK } from '../protocol.ts'
import type { Hang, Run } from '../run.ts'
import { findOverdue, type Limits, nextLimit, type Overdue, type Stage, unresponsive } from './deadlines.ts'
import type { Evidence } from './evidence.ts'
import { Leftovers, type Policy } from './leftovers.ts'
import type { Patient, PatientEvents } from './patient.ts'
import type { RestFilter } from './speak.ts'
import type { Forker } from './zygote/forker.ts'

// What only a hang needs is loaded at the first one: a healthy run does not pay for it.
const loadEvidence = () => import('./evidence.ts')
const loadSpeak = () => import('./speak.ts')
const loadWorthTracing = () => import('./worth-tracing.ts')
const loadShadowRun = () => import('./shadow-run.ts')

/** Pings and looks at the limits so often, and a moment after each limit that is known. */
const TICK_MS = 200
const AFTER_LIMIT_MS = 10
/** Trace re-runs per request: each may take the limit of its test and some seconds. */
const MOST_TRACES = 4

const NOT_STARTED = 'not run: the worker for the rest of the file did not start'
const CANCELLED = 'not run: the run was cancelled'

interface VitestMessage {
  __vitest_worker_request__?: true
  __vitest_worker_response__?: true
  type?: string
  context?: RunContext & { pool?: string }
  error?: unknown
}

export class SupervisedWorker implements PoolWorker {
  readonly name: string
  readonly cacheFs: boolean
  readonly reportMemory = false

  readonly #base: StockPool
  readonly #options: PoolOptions
  readonly #run: Run
  readonly #limits: Limits
  readonly #policy: Policy
  readonly #leftovers: Leftovers
  readonly #forker: Forker | null
  readonly #rpc: MainRpc
  readonly #emitter = new EventEmitter()

  #patient: Patient
  #startMessage: VitestMessage | undefined
  #runMessage: VitestMessage | undefined
  #stage: Stage = 'start'
  #stageSince = 0
  #timer: NodeJS.Timeout | undefined
  #lastTick = 0
  #silentMs = 0
  /** A hang is being dealt with: ticks pause. */
  #busy = false
  /** vitest has stopped this worker: nothing is started any more. */
  #stopped = false
  /** Trace re-runs of the present request. */
  #traces = 0
  /** A request runs: vitest waits for `testfileFinished`. */
  #running = false
  /** vitest waits for `stopped`, for a minute, whatever becomes of the worker. */
  #stopping = false
  /** Work that must be done before vitest hears that the file is finished. */
  #pending: Promise<unknown>[] = []
  #absent: Evidence[] = []
  #hangsInFile = 0
  #filter: RestFilter | undefined

  /** @param forker forks the process from one that is warm; null: a stock worker runs */
  constructor(
    base: StockPool,
    name: string,
    options: PoolOptions,
    run: Run,
    limits: Limits,
    policy: Policy,
    forker: Forker | null,
  ) {
    this.#base = base
    this.name = name
    this.cacheFs = base === 'forks'
    this.#options = options
    this.#run = run
    this.#limits = limits
    this.#policy = policy
    this.#forker = forker
    this.#leftovers = new Leftovers(run, options.project, policy)
    this.#rpc = mainRpc(options.project, this.cacheFs)
    this.#emitter.setMaxListeners(0)
    this.#patient = this.#makePatient()
  }

  // ---- what vitest calls

  on(event: string, callback: (...args: unknown[]) => void): void {
    this.#emitter.on(event, callback)
  }

  off(event: string, callback: (...args: unknown[]) => void): void {
    this.#emitter.off(event, callback)
  }

  deserialize(data: unknown): unknown {
    return data
  }

  async start(): Promise<void> {
    await this.#patient.start()
    this.#watch('start')
  }

  send(message: unknown): void {
    const m = message as VitestMessage
    if (m?.__vitest_worker_request__) {
      if (m.type === 'start') {
        // Code in the worker that asks for the pool's name gets the name of the pool that the user chose.
        if (m.context) m.context.pool = this.#base
        this.#startMessage = m
      } else if (m.type === 'run' || m.type === 'collect') {
        this.#runMessage = m
        this.#hangsInFile = 0
        this.#absent = []
        this.#running = true
        this.#run.armCancel()
        this.#traces = 0
        this.#patient.file = this.#files().at(-1) ?? null
        this.#watch('run')
      } else if (m.type === 'stop') {
        if (this.#patient.dead || this.#patient.ending || this.#patient.over) {
          queueMicrotask(() => this.#sayStopped())
          return
        }
        this.#stopping = true
        this.#watch('stop')
      }
    }
    this.#patient.send(message)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#unwatch()
    await this.#run.retire(this.#patient)
  }

  // ---- the worker's side

  #makePatient(): Patient {
    // What a worker said before it was ended may still arrive after we have spoken for it.
    const heard = (): boolean => patient === this.#patient && !patient.ending
    const events: PatientEvents = {
      message: (message) => heard() && this.#fromVitest(message),
      report: (message) => heard() && !this.#leftovers.hear(patient, message) && this.#fromTracker(message),
      error: (error) => heard() && this.#emit('error', error),
      exit: (code, signal) => heard() && this.#exited(code, signal),
    }
    const patient: Patient = this.#run.patient(this.#base, this.#options, null, this.#policy, events, this.#forker)
    return patient
  }

  #emit(event: string, ...args: unknown[]): void {
    this.#emitter.emit(event, ...args)
  }

  #fromVitest(message: unknown): void {
    const m = message as VitestMessage
    if (!m?.__vitest_worker_response__) {
      const passed = this.#filter ? this.#filter.fromWorker(message) : message
      if (passed !== undefined) this.#emit('message', passed)
      return
    }
    if (m.type === 'started' || m.type === 'stopped' || m.type === 'testfileFinished') this.#unwatch()
    if (m.type === 'stopped') this.#stopping = false
    if (m.type === 'testfileFinished') {
      this.#running = false
      void this.#fileFinished(message)
    } else if (m.type === 'started' && this.#filter) this.#restStarted(this.#filter, m.error)
    else this.#emit('message', message)
  }

  #restStarted(filter: RestFilter, error: unknown): void {
    if (!error) {
      filter.started()
      return
    }
    this.#run.vitest.state.catchError(error, 'Worker start for the rest of a file')
    void this.#giveUpRest(filter, NOT_STARTED)
  }

  async #fileFinished(message: unknown): Promise<void> {
    try {
      await Promise.all(this.#pending.splice(0))
      for (const evidence of this.#absent.splice(0)) await this.#traced(evidence)
      await this.#filter?.finished(this.#rpc)
    } catch (error) {
      this.#run.internal(error)
    }
    this.#filter = undefined
    this.#emit('message', message)
  }

  #exited(code: number | null, signal: string | null): void {
    this.#unwatch()
    this.#running = false
    this.#filter?.started()
    this.#run.workerDied(this.#patient, this.#files(), code, signal)
    this.#emit('exit', code, signal)
    if (this.#stopping) this.#sayStopped()
  }

  #sayStopped(): void {
    this.#stopping = false
    this.#emit('message', { __vitest_worker_response__: true, type: 'stopped' })
  }

  /** A limit of vitest's own passed; the worker goes on, the dump is there. */
  #fromTracker(message: FromWorker): void {
    if (message[MARK] === 'look') return void this.#look(this.#patient, message)
    if (message[MARK] !== 'timeout') return
    // Taking the dump held the worker for a moment: that is no silence of its own.
    this.#silentMs = 0
    this.#pending.push(this.#timedOut(message).catch((error) => this.#run.internal(error)))
  }

  async #look(patient: Patient, { n, threads }: FromWorker & { [MARK]: 'look' }): Promise<void> {
    try {
      const { lookAtOthers } = await import('./others.ts')
      const others = await lookAtOthers(patient, this.#run.vitest, threads)
      patient.send({ [MARK]: 'looked', n, others })
    } catch (error) {
      // The worker waits no longer than a bound.
      this.#run.internal(error)
    }
  }

  async #timedOut(message: FromWorker & { [MARK]: 'timeout' }): Promise<void> {
    const context = this.#context()
    const [{ evidenceOfTimeout }, { isWorthTracing }] = await Promise.all([loadEvidence(), loadWorthTracing()])
    const evidence = await evidenceOfTimeout(context, message)
    if (this.#run.options.hang?.lost === 'rerun' && isWorthTracing(evidence)) this.#absent.push(evidence)
    else await this.#run.report(evidence)
  }

  // ---- watching

  #watch(stage: Stage): void {
    this.#unwatch()
    this.#stage = stage
    this.#stageSince = wallClock()
    this.#lastTick = performance.now()
    this.#silentMs = 0
    this.#patient.lastPong = performance.now()
    if (stage !== 'stop') this.#patient.state = undefined
    this.#schedule(TICK_MS)
  }

  #schedule(ms: number): void {
    this.#timer = setTimeout(() => this.#tick(), ms)
    this.#timer.unref()
  }

  #unwatch(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #tick(): void {
    const now = performance.now()
    const elapsed = now - this.#lastTick
    this.#lastTick = now
    this.#schedule(TICK_MS)
    if (this.#busy) return
    const patient = this.#patient
    // A tick that came late says that the main process was busy or stopped: that time is not the worker's silence.
    const fair = Math.min(elapsed, 2 * TICK_MS)
    this.#silentMs = now - patient.lastPong < elapsed + 50 ? 0 : this.#silentMs + fair
    patient.ping()
    const state = patient.newestState()
    const clock = { now: wallClock(), silentMs: this.#silentMs, stageSince: this.#stageSince }
    const overdue =
      findOverdue(this.#stage, state, clock, this.#limits) ??
      (this.#run.interrupted ? unresponsive(this.#stage, state, clock) : undefined)
    if (overdue) void this.#hang(overdue)
    else {
      const next = nextLimit(state, clock.now, this.#limits)
      if (next !== undefined && next + AFTER_LIMIT_MS < TICK_MS) {
        clearTimeout(this.#timer)
        this.#schedule(next + AFTER_LIMIT_MS)
      }
    }
  }

  #files(): string[] {
    return (this.#runMessage?.context?.files ?? []).map((file) => file.filepath)
  }

  #context() {
    return {
      run: this.#run,
      project: this.#options.project,
      patient: this.#patient,
      base: this.#base,
      files: this.#files(),
      since: this.#stageSince,
    }
  }

  // ---- after the limit

  async #hang(overdue: Overdue): Promise<void> {
    this.#busy = true
    const stage = this.#stage
    const patient = this.#patient
    try {
      const [{ collectEvidence }, { isWorthTracing }] = await Promise.all([loadEvidence(), loadWorthTracing()])
      const evidence = await collectEvidence(this.#context(), stage, overdue)
      if (evidence === 'recovered' || patient !== this.#patient || patient.dead || patient.stopping) return
      // It came to its end while we looked.
      if (stage === 'run' && !this.#running) return
      this.#unwatch()
      const children = patient.children()
      if (!(await patient.kill())) {
        await this.#run.endChildren(patient, children)
        if (!(await patient.kill())) this.#run.abandoned(patient)
      }
      await this.#run.endChildren(patient, children)
      if (patient.dead) await this.#run.retire(patient)
      let hang: Hang
      const traces = this.#run.options.hang?.lost === 'rerun' && stage === 'run'
      if (traces && isWorthTracing(evidence)) hang = await this.#traced(evidence)
      else hang = await this.#run.report(evidence)
      await this.#goOn(stage, hang)
    } catch (error) {
      this.#run.internal(error)
      await patient.kill()
      this.#emit('exit', null, 'SIGKILL')
    } finally {
      this.#busy = false
    }
  }

  async #goOn(stage: Stage, hang: Hang): Promise<void> {
    if (stage === 'start' && this.#filter) return this.#giveUpRest(this.#filter, NOT_STARTED)
    if (stage === 'start') {
      return this.#emit('message', { __vitest_worker_response__: true, type: 'started', error: hang.error })
    }
    if (stage === 'stop') {
      return this.#emit('message', { __vitest_worker_response__: true, type: 'stopped', error: hang.error })
    }
    const context = this.#runMessage!.context!
    this.#hangsInFile++
    const mayRerun =
      this.#run.options.hang!.rerunRest &&
      this.#hangsInFile < this.#run.options.hang!.maxPerFile &&
      !this.#run.cancelled
    const { afterHang } = await loadSpeak()
    const rest = await afterHang({
      project: this.#options.project,
      rpc: this.#rpc,
      context,
      hang,
      mayRerun,
      earlier: this.#filter,
    })
    await Promise.all(this.#pending.splice(0))
    for (const evidence of this.#absent.splice(0)) await this.#traced(evidence)
    this.#bail()
    if (rest) return this.#rerun(rest)
    await this.#filter?.finished(this.#rpc)
    this.#finishRequest()
  }

  /** vitest counts `--bail` in the worker, which is gone. Cancelling waits for this very file: it is not awaited. */
  #bail(): void {
    const { vitest } = this.#run
    const { bail } = vitest.config
    if (bail && vitest.state.getCountOfFailedTests() >= bail) void vitest.cancelCurrentRun('test-failure')
  }

  #finishRequest(): void {
    this.#filter = undefined
    this.#running = false
    this.#emit('message', { __vitest_worker_response__: true, type: 'testfileFinished' })
  }

  /** The worker for the rest of a file did not start: the rest is skipped, with a note. */
  async #giveUpRest(filter: RestFilter, note: string): Promise<void> {
    if (filter !== this.#filter) return
    this.#filter = undefined
    await filter.giveUp(this.#rpc, note)
    this.#finishRequest()
  }

  async #rerun(filter: RestFilter): Promise<void> {
    this.#filter = filter
    // From here on this worker is watched like any other.
    this.#busy = false
    filter.reply = (message) => this.#patient.send(message)
    if (this.#stopped || this.#run.cancelled) return this.#giveUpRest(filter, CANCELLED)
    this.#patient = this.#makePatient()
    await this.#patient.start()
    if (this.#stopped) return this.#run.retire(this.#patient)
    this.#watch('start')
    const started = filter.whenStarted()
    this.#patient.send(this.#startMessage)
    await started
    if (filter !== this.#filter || this.#patient.dead || this.#patient.ending) return
    if (this.#run.cancelled) return this.#giveUpRest(filter, CANCELLED)
    this.#patient.file = filter.files.at(-1)?.filepath ?? null
    this.#watch('run')
    this.#patient.send({ ...this.#runMessage, context: { ...this.#runMessage!.context, files: filter.files } })
  }

  /** Runs the test once more alone with promises traced, then reports. */
  async #traced(evidence: Evidence): Promise<Hang> {
    const untraced = (why: string): Promise<Hang> =>
      this.#run.report({ ...evidence, lost: { proven: false, promise: null, note: `not traced again: ${why}` } })
    if (this.#run.interrupted || this.#stopped) return untraced('the run was cancelled')
    if (++this.#traces > MOST_TRACES) return untraced(`${MOST_TRACES} tests of this file were`)
    const { traceLost } = await loadShadowRun()
    const lost = await traceLost({
      evidence,
      limits: this.#limits,
      rpc: this.#rpc,
      startMessage: this.#startMessage!,
      runMessage: this.#runMessage!,
      patient: (trace, events, second) =>
        this.#run.patient(this.#base, this.#options, trace, null, events, null, second),
      retire: (patient) => this.#run.retire(patient),
      cancelled: this.#run.whenInterrupted,
      files: (path): FileTask[] => fileTasks(this.#options.project, path),
    })
    return this.#run.report({ ...evidence, lost })
  }
}

/** Milliseconds since the epoch on the monotonic clock, as the worker's side tells the time. */
const wallClock = (): number => performance.timeOrigin + performance.now()

export type { Task }
