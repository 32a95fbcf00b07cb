/**
 * What one vitest run knows of its hangs: workers and their folder, the run record, the way from evidence to a report.
 * One per resolved vitest config; it lives in the main process.
 */
import { randomUUID } from 'node:crypto'
import { writeSync } from 'node:fs'
import { isAbsolute, join, relative } from 'node:path'
import type { HangFacts, Verdict } from '../src/dump/facts.ts'
import { RunRecord } from '../src/dump/run-record.ts'
import type { ProcessIdentity } from '../src/process/identity.ts'
import { makeTempRoot, removeTempRoot, sweepTemp } from '../src/reap/temp.ts'
import { type PoolOptions, type SerializedError, type StockPool, taskById, titles, type Vitest } from './compat.ts'
import { finishBeforeSignals } from './interrupts.ts'
import type { Leak } from './leaks.ts'
import type { ResolvedOptions } from './options.ts'
import type { Evidence } from './pool/evidence.ts'
import type { Policy } from './pool/leftovers.ts'
import { Patient, type PatientEvents } from './pool/patient.ts'
import type { Forker } from './pool/zygote/forker.ts'
import type { Forkers } from './pool/zygote/forkers.ts'
import { type Orphan, Processes } from './processes.ts'
import type { TestDelta, TraceOrder } from './protocol.ts'
import { type Running, whatRuns } from './running.ts'
import { settled } from './wait.ts'

/** One hang, diagnosed. */
export interface Hang {
  evidence: Evidence
  facts: HangFacts
  verdict: Verdict
  /** For the results of a worker that was ended. */
  error: SerializedError
  /** Paths relative to the root; absent when the dump could not be written. */
  dump: { txt: string; json: string } | null
  dumpError: string | null
  /** What goes into `task.meta.harrow.hang`. */
  summary: { class: string; confidence: string; diagnosis: string; dump: string | null }
}

/** What the reporters hear. */
export interface RunListener {
  hang(hang: Hang): void | Promise<void>
  orphans(orphans: readonly Orphan[]): void
  note(text: string): void
  /** Every process of the run has been ended. */
  closed(): void
}

const PATIENTS_STOP_MS = 8000
/** What ends within this time after Ctrl-C is not worth a word. */
const WAITING_MS = 1500
/** The ladder for what earlier runs left takes some seconds, on a busy machine more; it must not be broken off halfway. */
const RECOVERY_MS = 30_000

export class Run {
  readonly id = randomUUID().slice(0, 8)
  readonly options: ResolvedOptions
  readonly vitest: Vitest
  readonly root: string
  readonly hangs: Hang[] = []
  readonly leaks: Leak[] = []
  readonly orphans: Orphan[] = []
  readonly processes: Processes
  readonly record: RunRecord
  /** For the pool `zygote`. */
  forkers: Forkers | undefined
  /** vitest is cancelling (Ctrl-C, bail): the rest of a file is not run. */
  cancelled = false
  /** Somebody has cancelled it, and waits for no explanation; after a bail the one failure is still looked into. */
  interrupted = false
  #cancel: () => void = () => {}
  #disarm: () => void = () => {}
  /** Settles when somebody cancels. */
  whenInterrupted = new Promise<void>((resolve) => {
    this.#cancel = resolve
  })

  readonly #listeners = new Set<RunListener>()
  readonly #patients = new Set<Patient>()
  readonly #temp: string | null
  readonly #abandoned: Patient[] = []
  #numbers = 0
  #dumps = 0
  #said = new Set<string>()
  #closed = false
  #begun = false
  readonly #stopListening: () => void

  constructor(vitest: Vitest, options: ResolvedOptions) {
    this.vitest = vitest
    this.options = options
    this.root = vitest.config.root
    this.#temp = this.#makeTemp()
    this.processes = new Processes(this, this.#temp)
    this.record = new RunRecord({
      run: this.id,
      backend: process.env.HARROW_BACKEND ?? 'spawn',
      strength: this.processes.session.strength,
    })
    process.once('exit', this.#onExit)
    this.#stopListening = finishBeforeSignals(this.#onExit)
    vitest.onClose(() => this.close())
  }

  /** A run starts; in watch mode each run has a record of its own. */
  begin(): void {
    this.#begun = true
    this.#said.clear()
    this.processes.begin()
    this.forkers?.begin()
    this.cancelled = false
    this.interrupted = false
    this.whenInterrupted = new Promise((resolve) => {
      this.#cancel = resolve
    })
    for (const list of [this.hangs, this.leaks, this.orphans]) list.length = 0
    this.record.restart()
  }

  #recovering: Promise<void> | undefined

  /** Looks after runs that were killed; beside the tests, which do not wait for it. */
  recover(): void {
    this.#recovering ??= this.processes.recover().then(
      (sentences) => {
        for (const sentence of [...this.processes.session.notes, ...sentences]) this.note(sentence)
      },
      (error: unknown) => this.note(`earlier runs were not looked after: ${message(error)}`),
    )
  }

  /** vitest forgets its cancel listeners when a run starts, after `begin`: called with each request to a worker. */
  armCancel(): void {
    this.#disarm()
    this.#disarm = this.vitest.onCancel((reason) => {
      this.cancelled = true
      if (reason === 'test-failure') return
      this.interrupted = true
      this.#cancel()
      setTimeout(() => this.#tellWaiting(), WAITING_MS).unref()
    }) as () => void
  }

  listen(listener: RunListener): void {
    this.#listeners.add(listener)
  }

  /** Says something once. */
  note(text: string): void {
    if (this.#said.has(text)) return
    this.#said.add(text)
    for (const listener of this.#listeners) listener.note(text)
  }

  /** An error of harrow's own must not end the run of the user's tests; it is said and counts as an error of the run. */
  internal(error: unknown): void {
    this.note(
      `harrow failed while it dealt with a hang (a bug in harrow: please report it): ${error instanceof Error ? error.stack : String(error)}`,
    )
    process.exitCode ||= 1
  }

  #makeTemp(): string | null {
    try {
      return makeTempRoot(this.id)
    } catch (error) {
      queueMicrotask(() =>
        this.note(
          `no state records: ${message(error)}. A test that blocks in a system call will be named less exactly.`,
        ),
      )
      return null
    }
  }

  // ---- workers

  /** @param policy null: nothing that it leaves behind is looked at (a run with promises traced) */
  patient(
    base: StockPool,
    pool: PoolOptions,
    trace: TraceOrder | null,
    policy: Policy | null,
    events: PatientEvents,
    forker: Forker | null,
    secondOpinion = false,
  ): Patient {
    const number = ++this.#numbers
    const record = this.#temp === null ? null : join(this.#temp, `${number}.state`)
    const patient = new Patient(
      {
        base,
        pool,
        run: this.id,
        number,
        record,
        trace,
        secondOpinion,
        redact: this.options.redact,
        snapshotMb: this.options.hang?.snapshot ?? null,
        othersMs: this.options.hang?.others ?? 0,
        policy,
        compileCache: this.#compileCache(pool),
        // A second run with promises traced is looked at more closely than is worth a faster start.
        forker: trace === null ? forker : null,
      },
      events,
    )
    this.#patients.add(patient)
    return patient
  }

  /**
   * The folder of Node's compile cache for workers. Off where coverage counts positions that cached code lacks (as vitest
   * has it for its own workers), and where the environment has decided already.
   */
  #compileCache(pool: PoolOptions): string | null {
    const { coverage } = this.vitest.config
    if (!this.options.compileCache || (coverage.enabled && coverage.provider !== 'istanbul')) return null
    if (pool.env.NODE_COMPILE_CACHE || pool.env.NODE_DISABLE_COMPILE_CACHE) return null
    return join(pool.project.vite.config.cacheDir, 'harrow-compile-cache')
  }

  /** Stops a worker the way vitest does, and ends what it left behind. */
  async retire(patient: Patient): Promise<void> {
    patient.stopping = true
    const children = patient.dead && !patient.process ? [] : patient.children()
    if (!patient.dead || patient.process) {
      const stopped = patient.ending ? Promise.resolve(patient.kill()) : patient.inner.stop().then(() => true)
      await Promise.race([settled(stopped, 1500), patient.gone])
      // The stock worker waits for the end of its output, which a left child that shares the pipe never gives.
      await this.endChildren(patient, children)
      if ((await settled(stopped, 3000)) === undefined) {
        patient.process?.stdout?.destroy()
        patient.process?.stderr?.destroy()
        await settled(stopped, 1000)
      }
    }
    patient.dead = true
    await this.endChildren(patient, children)
    this.#patients.delete(patient)
  }

  /** Ends processes that outlived the worker that started them, and reports them. */
  async endChildren(patient: Patient, children: ProcessIdentity[]): Promise<void> {
    this.addOrphans(await this.processes.endLeft(patient, children, patient.ending))
  }

  addOrphans(found: readonly Orphan[]): void {
    if (found.length === 0) return
    this.orphans.push(...found)
    for (const { entry } of found) this.record.addOrphan(entry)
    for (const listener of this.#listeners) listener.orphans(found)
  }

  addDeltas(file: string, deltas: readonly TestDelta[]): void {
    for (const { test, ...moved } of deltas) {
      const task = taskById(this.vitest, test)
      if (task) this.record.addDelta({ file: this.relative(file), test: titles(task), ...moved })
    }
  }

  addLeaks(found: readonly Leak[]): void {
    this.leaks.push(...found)
    for (const { entry } of found) this.record.addLeak(entry)
  }

  abandoned(patient: Patient): void {
    this.#abandoned.push(patient)
    this.note(
      'a worker thread is stuck in a system call and cannot be ended; vitest will be ended with SIGKILL when the run is over (use --pool forks to avoid this)',
    )
  }

  workerDied(patient: Patient, files: string[], code: number | null, signal: string | null): void {
    const running = patient.state?.running.map((r) => taskById(this.vitest, r.id)).filter((t) => t !== undefined) ?? []
    if (running.length === 0) return
    const how = signal ? `was ended by ${signal}` : `exited with code ${code}`
    const names = running.map((t) => titles(t).join(' > ')).join('", "')
    this.note(
      `the worker of ${files.map((f) => this.relative(f)).join(', ')} ${how} while "${names}" ran; the results of that file after its last report are lost`,
    )
  }

  // ---- from evidence to a report

  async report(evidence: Evidence): Promise<Hang> {
    const n = ++this.#dumps
    const { makeHang } = await import('./report.ts')
    const hang = makeHang(this, evidence, n)
    const { facts, verdict } = hang
    this.hangs.push(hang)
    // A hang at the stop of a worker comes after vitest has counted its failures.
    if (evidence.ended) process.exitCode ||= 1
    this.record.addHang({
      file: facts.file.path,
      test: facts.test,
      ...(facts.project !== undefined && { project: facts.project }),
      hook: facts.hook,
      phase: facts.phase,
      class: verdict.class,
      confidence: verdict.confidence,
      diagnosis: verdict.diagnosis,
      ...(verdict.culprit && { culprit: verdict.culprit }),
      ...(verdict.holder && { holder: verdict.holder }),
      waitedMs: Math.round(facts.waitedMs),
      dump: hang.dump?.json ?? null,
    })
    for (const listener of this.#listeners) await listener.hang(hang)
    await (await import('./annotate.ts')).annotate(this.vitest, this.root, hang)
    return hang
  }

  /** A path as it is shown: relative to the root, or as it is when it lies outside. */
  relative(path: string): string {
    const r = relative(this.root, path)
    return r.startsWith('..') || isAbsolute(r) ? path : r.replaceAll('\\', '/')
  }

  // ---- the end

  /**
   * Writes the run record; called at the end of each run, and again when the process exits.
   * @returns false when it could not be written; the reason has been said
   */
  writeRecord(): boolean {
    // Merged reports and listed tests are no run: the record of the last one is left alone.
    if (!this.#begun || this.vitest.config.mergeReports) return false
    const error = this.record.writeSync(join(this.root, '.harrow', 'run.json'))
    if (error) this.note(`the run record was not written: ${error}`)
    return error === undefined
  }

  /** Ends every process of the run that is left. */
  async close(): Promise<void> {
    const until = performance.now() + PATIENTS_STOP_MS
    while ([...this.#patients].some((p) => !p.dead) && performance.now() < until) {
      await new Promise((done) => setTimeout(done, 20))
    }
    await this.forkers?.end()
    this.addOrphans(await this.processes.close())
    if (this.#recovering) await settled(this.#recovering, RECOVERY_MS)
    for (const listener of this.#listeners) listener.closed()
    this.#cleanUp()
  }

  #cleanUp(): void {
    if (this.#closed) return
    this.#closed = true
    this.writeRecord()
    this.processes.release()
    if (this.#temp !== null) removeTempRoot(this.#temp)
    // Those of runs that could not clean up, because a signal ended them.
    sweepTemp()
    this.#stopListening()
  }

  #running(): Running[] {
    return whatRuns(this.vitest, this.#patients, (path) => this.relative(path))
  }

  /** Ctrl-C on a suite that hangs is how most people end one: say at least what was running. */
  #tellInterrupted(): void {
    for (const { name, phase, ms } of this.#running()) {
      const so = phase === null ? `while ${name} ran (` : `in ${name} (${phase}, `
      sayNow(` harrow: interrupted ${so}${(ms / 1000).toFixed(1)} s)`)
    }
  }

  /** vitest waits for what runs, and says not what that is. */
  #tellWaiting(): void {
    for (const { name, phase, ms } of this.#running()) {
      const what = phase === null ? name : `${name} (${phase})`
      this.note(`waits for ${what}, which has run for ${(ms / 1000).toFixed(1)} s`)
    }
  }

  readonly #onExit = (): void => {
    if (!this.#closed) {
      this.record.interrupted()
      this.#tellInterrupted()
      this.processes.endNow()
    }
    this.#cleanUp()
    // exit() joins the threads of the process, and one that sits in a system call never comes.
    if (this.#abandoned.length > 0) process.kill(process.pid, 'SIGKILL')
  }
}

/** The process exits: nothing asynchronous is printed any more. */
function sayNow(text: string): void {
  try {
    writeSync(2, `${text}\n`)
  } catch {
    // Nobody reads stderr.
  }
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error))
