/** What the main process and a worker tell each other beside vitest's own messages. */

import type { ActorFact } from '../src/inspect/actors.ts'
import type { AsyncFacts, Breadcrumb, LiveHandle, LostPromise, ProcessFact, RawFrame } from '../src/inspect/facts.ts'
import type { LockFacts } from '../src/inspect/lock-trace.ts'
import type { ProcessLook } from '../src/inspect/other-process.ts'
import type { ThreadFacts } from '../src/inspect/threads.ts'
import type { FetchSite, SentSignal, StreamNote, WaitFacts } from '../src/inspect/wait-facts.ts'
import type { LeakPattern } from './options.ts'

/** Marks a message as ours; vitest ignores messages without its own marks on both sides. */
export const MARK = '__harrow__'

/** Where the worker's code is; `dump`: it looks at itself and answers nothing meanwhile. */
export type WorkerPhase = 'start' | 'collect' | 'suite' | 'hook' | 'test' | 'teardown' | 'between' | 'dump' | 'stop'

/** A stretch of code with a limit of vitest's own: a test body or a hook. Times in milliseconds since the epoch. */
export interface Section {
  /** Task id of the test, null for hooks of suites. */
  test: string | null
  /** `beforeAll`, `afterEach`, ...; null for a test body. */
  hook: string | null
  start: number
  /** Milliseconds. */
  timeout: number
}

/** A test between its first hook and the end of its fixtures. */
export interface RunningTest {
  id: string
  start: number
}

/** The state of a worker: the answer to a ping, and the content of the state record. */
export interface WorkerState {
  /** Grows with every transition. */
  seq: number
  /** Time of the last transition, milliseconds since the epoch. */
  at: number
  phase: WorkerPhase
  /** Path of the test file. */
  file: string | null
  /** Task id of the suite whose `beforeAll` or `afterAll` runs. */
  suite: string | null
  hook: string | null
  running: RunningTest[]
  sections: Section[]
  crumb: Breadcrumb | null
  /** A test listens to SIGUSR1 itself: the inspector cannot be opened from outside any more. */
  sigusr1?: boolean
}

/** Ids and results of tests that finished and that vitest may not have reported yet. */
export type FinishedTest = [id: string, result: unknown, meta: unknown]

export interface FakeTimerFact {
  on: boolean
  pending: number
  installed: RawFrame[]
}

/** What a worker found when it looked at itself. */
export interface SelfReport {
  async: AsyncFacts | null
  /** Label of the section that the report is about, as in `SuspendedFunction.owner`. */
  owner: string | null
  fakeTimers: FakeTimerFact | null
  resources: Record<string, number> | null
  /** What it waits for; null when it could not be looked at. */
  wait: WaitFacts | null
  /** Handles that are open, with the places where they were made; null when they are not recorded. */
  handles: LiveHandle[] | null
  /** Signals that its code has sent, and its calls of `fetch`, oldest first. */
  signals: SentSignal[]
  fetches: FetchSite[]
  /** Actors of the tree that is open here; absent or null without one. */
  actors?: ActorFact | null
  /** Threads and processes that the worker's code has started; absent when there are none. */
  others?: Others
  /** Why something is missing. */
  notes: string[]
  tookMs: number
}

/** A handle as why-is-node-running sees it in a second run. */
export interface HandleOpinion {
  /** Type as in `async_hooks`: `Timeout`, `TCPSERVERWRAP`. */
  type: string
  /** Innermost first, without Node's own. */
  frames: RawFrame[]
}

/** Threads and processes that the code of a worker has started, as they were when its limit passed. */
export interface Others {
  threads: ThreadFacts[]
  processes: ProcessLook[]
  /** The worker and everything below it in the process table. */
  table: ProcessFact[]
  tookMs: number
  /** What is missing and why. */
  notes: string[]
}

/** What ran in the worker when a handle or a process was made. */
export interface Scope {
  /** Task ids of the tests that were running: one, or the overlapping ones of concurrent tests, or none. */
  tests: string[]
  /** Name of the hook when one ran. */
  hook: string | null
  /** Task id of the suite, for a hook of a suite. */
  suite: string | null
  phase: WorkerPhase
  file: string | null
}

/** A handle that outlived its test, its hook or its file. */
export interface LeakReport {
  scope: Scope
  kind: string
  what: string
  ageMs: number
  /** So many of the same kind from the same place in the same scope. */
  count: number
  created: RawFrame[]
}

/** What moved while a test ran; a count that did not move is absent. */
export interface TestDelta {
  /** Task id. */
  test: string
  descriptors?: number
  /** Child processes of the worker. */
  children?: number
  /** Listeners on `process`. */
  listeners?: number
  /** Growth of the heap in use, garbage included; from 8 MiB. */
  heapBytes?: number
}

/** A start of a process. */
export interface SpawnReport {
  scope: Scope
  ordinal: number
  /** Null for a synchronous call. */
  pid: number | null
  command: string
  /** Milliseconds since the epoch. */
  from: number
  to: number
  created: RawFrame[]
}

/** An error that the worker adds to the result of a test, or of the file when the test is null. */
export interface Failure {
  test: string | null
  error: { name: string; message: string; stack: string }
}

/** A process that was ended because what had started it was over. */
export interface ReapedProcess {
  pid: number
  command: string
  ageMs: number | null
  /** `SIGTERM`, `SIGKILL`, or `none` when it could not be ended. */
  action: string
  diagnosis: string
}

/** Whose processes are to be ended: those that one test started, or all that the file started. */
export type ReapScope = { test: string } | { file: string }

export type ToWorker =
  | { [MARK]: 'ping'; n: number }
  | { [MARK]: 'dump'; n: number; owner: string | null }
  /** Answer to `file-end` and `reap`. */
  | { [MARK]: 'verdict'; n: number; failures: Failure[]; reaped: ReapedProcess[] }
  /** Answer to `look`. */
  | { [MARK]: 'looked'; n: number; others: Others }

export type FromWorker =
  | { [MARK]: 'hello'; pid: number; thread: number; tid: number | null; notes: string[] }
  | { [MARK]: 'pong'; n: number; state: WorkerState }
  /** vitest's own limit passed: the dump taken at that moment, and whose it is. */
  | { [MARK]: 'timeout'; section: Section; waitedMs: number; state: WorkerState; report: SelfReport }
  | { [MARK]: 'dumped'; n: number; state: WorkerState; report: SelfReport }
  /**
   * A limit has passed, and the worker's code has started threads or processes: what they do is to be seen before anything
   * ends. `threads`: ids of threads that only the main process can attach to. Answered by `looked`.
   */
  | { [MARK]: 'look'; n: number; threads: number[] }
  | ({ [MARK]: 'spawned' } & SpawnReport)
  /** A deliberate process: not to be ended with its test or file. */
  | { [MARK]: 'keep'; pid: number; until: 'file' | 'run' }
  /**
   * The hooks of a file are over. `serving`: children that do not hold the worker and end with it, see
   * `harness/worker/children.ts`; `hung`: tests whose limit has passed. Sent only when something is left or a process was started; answered by `verdict`.
   */
  | {
      [MARK]: 'file-end'
      n: number
      file: string
      leaks: LeakReport[]
      spawned: boolean
      serving: number[]
      hung: string[]
    }
  /** What the tests of a file have moved; not answered. */
  | { [MARK]: 'deltas'; file: string; deltas: TestDelta[] }
  /**
   * For the pool `zygote`: what a file took, milliseconds, and what it has imported from node_modules. Sent when a worker is
   * asked to measure; not answered.
   */
  | { [MARK]: 'learned'; file: string; cpuMs: number; wallMs: number; imports: [path: string, ms: number][] }
  /** The `reaper` fixtures and `reap()`; answered by `verdict`. */
  | { [MARK]: 'reap'; n: number; whose: ReapScope; finding: boolean; serving: number[] }
  /** Trace mode: what runs waits for a promise that was collected while pending; an empty list when no such was found. */
  | {
      [MARK]: 'lost'
      lost: LostPromise[]
      body: boolean
      locks: LockFacts | null
      streams: StreamNote[]
      opinions: HandleOpinion[]
    }

/** What a run with promises traced is to look at. */
export interface TraceOrder {
  /** Label of the section that hung; null when it has none: then whatever runs is looked at. */
  owner: string | null
  /** Give up so long after that section has begun. */
  ms: number
}

/** Configuration of a worker, in the environment variable {@link WORKER_ENV} as JSON. */
export interface WorkerConfig {
  /** File URL of vitest's own entry for this kind of worker. */
  entry: string
  /** File URL of vitest's index module. */
  vitest: string
  /** Path of the state record; null when it could not be made. */
  record: string | null
  /** Trace promises and tell the first lost one, or in the end that there is none; null: do not trace. */
  trace: TraceOrder | null
  /** When promises are traced: ask why-is-node-running as well. */
  secondOpinion: boolean
  /** At most so many dumps of overdue tests and hooks per worker. */
  maxDumps: number
  redact: string[]
  /** See `HeapLimits`. */
  snapshotMb: number | null
  /** Time for a look at threads and processes that the worker's code has started, milliseconds; 0: there is none. */
  othersMs: number
  /** Look for handles that outlive their test. */
  leaks: boolean
  /** Leaks that are not reported. */
  ignoreLeaks: LeakPattern[]
  /** Look for processes that outlive their test. */
  orphans: boolean
  /** vitest loads the modules of each file anew. */
  isolated: boolean
  /** Folder of Node's compile cache; null leaves it off. */
  compileCache: string | null
  /** Tell what files take and import, see `learned`. */
  measure: boolean
}

export const WORKER_ENV = 'HARROW_WORKER'
/** Marks every process of a run: `HARROW_SESSION=<run id>`. */
export const SESSION_ENV = 'HARROW_SESSION'
/** Marks every process below one worker: `HARROW_MEMBER=<run id>.<n>`. */
export const MEMBER_ENV = 'HARROW_MEMBER'

/** Prefix of the labels that the marker function `harrowOwner` carries. */
export const OWNER_PREFIX = 'harrow:'
export const testOwner = (id: string): string => `${OWNER_PREFIX}test:${id}`
export const hookOwner = (hook: string, suite: string | null): string => `${OWNER_PREFIX}hook:${hook}:${suite ?? ''}`
export const collectOwner = (file: string): string => `${OWNER_PREFIX}collect:${file}`

export function isOurs(message: unknown): message is Record<typeof MARK, string> {
  return typeof message === 'object' && message !== null && MARK in message
}
