/** One worker process or thread under watch: its handle, its answers, its record, its end. */
import type { ChildProcess } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Worker } from 'node:worker_threads'
import type { ProcessIdentity } from '../../src/process/identity.ts'
import { identify } from '../../src/process/identity.ts'
import { childrenOf, childrenOfThread, linkTarget } from '../../src/process/procfs.ts'
import { createInner, type InnerWorker, type PoolOptions, type StockPool } from '../compat.ts'
import type { FromWorker, SelfReport, ToWorker, TraceOrder, WorkerConfig, WorkerState } from '../protocol.ts'
import { isOurs, MARK, MEMBER_ENV, SESSION_ENV, WORKER_ENV } from '../protocol.ts'
import { readRecord } from '../state-record.ts'
import { settled } from '../wait.ts'
import type { Policy } from './leftovers.ts'
import type { Forker } from './zygote/forker.ts'

/** The worker's first module. {@link file://./../worker/entry.ts} */
const ENTRY = new URL(`../worker/entry${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

export interface PatientOptions {
  base: StockPool
  pool: PoolOptions
  /** Run id. */
  run: string
  /** Unique among the workers of the run. */
  number: number
  /** Path for the state record, null when there is no folder for it. */
  record: string | null
  /** See `WorkerConfig`. */
  trace: TraceOrder | null
  /** See `WorkerConfig`. */
  secondOpinion: boolean
  redact: string[]
  snapshotMb: number | null
  /** Time for a look at threads and processes that its code has started, milliseconds; 0: there is none. */
  othersMs: number
  /** What becomes of leaks and orphans; null: they are not looked for. */
  policy: Policy | null
  /** Folder of the compile cache, null when it is off. */
  compileCache: string | null
  /** Makes the process where it can be forked from one that is warm; null: it is started anew. */
  forker: Forker | null
}

export interface PatientEvents {
  /** A message of vitest's. */
  message(message: unknown): void
  /** A message of ours, beside pongs. */
  report(message: FromWorker): void
  error(error: unknown): void
  exit(code: number | null, signal: string | null): void
}

export class Patient {
  readonly inner: InnerWorker
  readonly options: PatientOptions
  /** Last answer. */
  state: WorkerState | undefined
  /** When it last answered, on the clock of `performance.now()`. */
  lastPong = 0
  /** The worker's side is there and answers pings. */
  greeted = false
  /** Kernel id of the worker's thread. */
  tid: number | null = null
  notes: string[] = []
  /** The file that it ran last. */
  file: string | null = null
  /** We are ending it: its exit is no news. */
  ending = false
  /** vitest stops it: likewise. */
  stopping = false
  dead = false
  #leave: () => void = () => {}
  /** Settles when the process or thread is gone; its output may still be held open by what it has started. */
  readonly gone = new Promise<void>((resolve) => {
    this.#leave = resolve
  })

  #events: PatientEvents
  #pings = 0
  #waiting = new Map<number, (message: FromWorker) => void>()

  constructor(options: PatientOptions, events: PatientEvents) {
    this.options = options
    this.#events = events
    const { pool, base, run, record } = options
    const env = { ...pool.env, [SESSION_ENV]: run, [MEMBER_ENV]: this.tag }
    const made = createInner(base, { ...pool, env }, fileURLToPath(ENTRY))
    this.inner = made.inner
    const config: WorkerConfig = {
      entry: pathToFileURL(made.stockEntry).href,
      vitest: new URL('index.js', pathToFileURL(`${pool.distPath}/`)).href,
      record,
      trace: options.trace,
      secondOpinion: options.secondOpinion,
      maxDumps: 20,
      redact: options.redact,
      snapshotMb: options.snapshotMb,
      othersMs: options.othersMs,
      leaks: options.policy !== null && options.policy.leaks !== 'off',
      ignoreLeaks: options.policy?.ignoreLeaks ?? [],
      orphans: options.policy !== null && options.policy.orphans !== 'off',
      isolated: pool.project.config.isolate !== false,
      compileCache: options.compileCache,
      measure: options.forker !== null,
    }
    ;(env as NodeJS.ProcessEnv)[WORKER_ENV] = JSON.stringify(config)
    if (options.forker) this.inner = options.forker.use(made.inner, { pool, env, argv: [fileURLToPath(ENTRY)], config })
  }

  get tag(): string {
    return `${this.options.run}.${this.options.number}`
  }

  get process(): ChildProcess | undefined {
    return this.inner._fork
  }

  get thread(): Worker | undefined {
    return this.inner._thread
  }

  /** How its inspector is opened where SIGUSR1 does not do that; undefined where it does. */
  get opener(): (() => boolean) | undefined {
    const { openInspector } = (this.process ?? {}) as { openInspector?: () => boolean }
    return openInspector?.bind(this.process)
  }

  /** Its file is finished, and to stop it means to end it. */
  get over(): boolean {
    return (this.process as { over?: boolean } | undefined)?.over === true
  }

  /** Pid of the process that the worker is or lives in. */
  get pid(): number {
    return this.process?.pid ?? process.pid
  }

  async start(): Promise<void> {
    await this.inner.start()
    this.lastPong = performance.now()
    this.inner.on('message', (message: unknown) => {
      if (!isOurs(message)) return this.#events.message(message)
      this.#ours(message as unknown as FromWorker)
    })
    this.inner.on('error', (error: unknown) => {
      if (!this.ending && !this.stopping) this.#events.error(error)
    })
    this.inner.on('exit', (code: number | null, signal: string | null) => {
      this.dead = true
      this.#leave()
      // It may have begun much since it was last heard.
      if (!this.ending && !this.stopping) this.state = this.newestState()
      this.#forgetRecord()
      if (!this.ending && !this.stopping) this.#events.exit(code, signal)
    })
  }

  #ours(message: FromWorker): void {
    this.lastPong = performance.now()
    if (message[MARK] === 'hello') {
      this.greeted = true
      this.tid = message.tid
      this.notes = message.notes
    } else if (message[MARK] === 'pong') this.state = message.state
    else if (message[MARK] === 'dumped') {
      this.#waiting.get(message.n)?.(message)
      this.#waiting.delete(message.n)
    } else this.#events.report(message)
  }

  /** Forwards a message of vitest's; a message to a dead worker is dropped. */
  send(message: unknown): void {
    if (this.dead || this.ending) return
    try {
      this.inner.send(message as never)
    } catch (error) {
      // The process died between its last sign of life and now; its exit event tells the rest.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_IPC_CHANNEL_CLOSED') this.#events.error(error)
    }
  }

  #tell(message: ToWorker): void {
    this.send(message)
  }

  ping(): void {
    if (this.greeted) this.#tell({ [MARK]: 'ping', n: ++this.#pings })
  }

  /** The newest state: the record on disk when it is newer than the last answer. */
  newestState(): WorkerState | undefined {
    const record = this.options.record === null ? undefined : readRecord(this.options.record)
    if (!record) return this.state
    return this.state && this.state.seq >= record.seq ? this.state : record
  }

  /** Asks the worker to look at itself; undefined when it does not answer in time. */
  async ask(
    kind: 'dump',
    owner: string | null,
    deadlineMs: number,
  ): Promise<{ state: WorkerState; report: SelfReport } | undefined> {
    if (!this.greeted || this.dead) return undefined
    const n = ++this.#pings
    const reply = new Promise<FromWorker>((resolve) => this.#waiting.set(n, resolve))
    this.#tell({ [MARK]: kind, n, owner })
    const message = await settled(reply, deadlineMs)
    this.#waiting.delete(n)
    return message && message[MARK] === 'dumped' ? message : undefined
  }

  #output: string[] | undefined

  /** What its stdout and stderr are called in `/proc`: a process below it may have inherited them. Asked while it lives. */
  output(): string[] {
    const { process: fork } = this
    if (this.#output === undefined && fork?.pid !== undefined && !this.dead) {
      this.#output = [1, 2].map((fd) => linkTarget(`/proc/${fork.pid}/fd/${fd}`) ?? '')
    }
    return this.#output ?? []
  }

  /** Processes started by this worker that live now (direct children; cheap). */
  children(): ProcessIdentity[] {
    const pids = this.process ? childrenOf(this.pid) : this.tid === null ? [] : childrenOfThread(process.pid, this.tid)
    return (pids ?? []).map((pid) => identify(pid)).filter((id) => id !== undefined)
  }

  /**
   * Ends the worker at once. A thread inside a system call cannot be ended (`terminate()` waits for the call): after
   * the bound it is left behind and `false` comes back.
   */
  async kill(boundMs = 3000): Promise<boolean> {
    this.ending = true
    if (this.dead) return true
    const fork = this.process
    let done: boolean
    if (fork) {
      const exited = new Promise<true>((resolve) => fork.once('exit', () => resolve(true)))
      if (fork.exitCode === null && fork.signalCode === null) fork.kill('SIGKILL')
      else return this.#gone()
      done = (await settled(exited, boundMs)) === true
    } else {
      const thread = this.thread
      done =
        thread === undefined ||
        (await settled(
          thread.terminate().then(() => true),
          boundMs,
        )) === true
    }
    return done ? this.#gone() : false
  }

  #gone(): true {
    this.dead = true
    this.#forgetRecord()
    return true
  }

  #forgetRecord(): void {
    if (this.options.record !== null) rmSync(this.options.record, { force: true })
  }
}
