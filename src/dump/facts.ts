import type { Confidence, Site } from '../errors.ts'
import type { ActorFact } from '../inspect/actors.ts'
import type { HeldBy, LiveHandle, ProcessFact } from '../inspect/facts.ts'
import type { LockHolder, LockWait } from '../inspect/lock-trace.ts'
import type { FetchSite, SentSignal, StreamFact, WaitFacts } from '../inspect/wait-facts.ts'

/** A frame after source maps; `site.path` is relative to the project root. */
export interface Frame {
  /** Function name, `<anonymous>` when it has none, `<module>` for a module body. */
  fn: string
  site: Site
  /** Text of the source line, trimmed; absent when the file could not be read. */
  source?: string
  /** Text of the line below, trimmed, when the statement of `source` goes on there. */
  next?: string
  locals?: Record<string, string>
  /** True for the user's code: not `node:`, `node_modules` or harrow. */
  user: boolean
}

/** A suspended function after source maps. */
export interface AwaitFrame extends Frame {
  id: number
  /** Ids of those that wait for it. */
  awaitedBy: number[]
  /** Label of the test or hook that it belongs to; null: left by an earlier test, or nobody's. */
  owner: string | null
  heldBy: HeldBy[]
  /** It awaits a combinator of promises: which of its members are pending, counted from 0. */
  members?: { of: string; pending: number[] }
  /** Where the function is defined; absent when that is not known. */
  definedAt?: Site
  /** False when only the definition of the function is known, not the line of the `await`. */
  exact: boolean
  /** So many of it wait at the same place below the same waiters; absent for one. */
  count?: number
}

/** A wait for a lock after source maps, see `LockWait` in `src/inspect/lock-trace.ts`. */
export interface LockWaitFrames extends Omit<LockWait, 'inner' | 'call' | 'outer' | 'holders'> {
  inner: Frame[]
  call: Frame
  outer: Frame[]
  holders: (Omit<LockHolder, 'taken'> & { taken: Frame })[]
}

/** The waits for locks of what hangs, and its innermost awaits that wait for something else. */
export interface LockWaits {
  waits: LockWaitFrames[]
  others: Frame[]
}

/** An open handle after source maps. */
export interface Handle extends Omit<LiveHandle, 'created'> {
  /** Where it was made, innermost first; empty when that is not known. */
  created: Frame[]
  /** Another tool that told the place. */
  by?: string
  /** How such a handle is closed. */
  close?: string
}

/** What the test waits for as seen in the worker, and the calls of its own that bear on it. */
export interface WaitedFor extends WaitFacts {
  signals: (Omit<SentSignal, 'frames'> & { frames: Frame[] })[]
  fetches: (Omit<FetchSite, 'frames'> & { frames: Frame[] })[]
}

/** A stream that the trace re-run remembers, after source maps. */
export interface TracedStream {
  stream: StreamFact
  listens: { event: string; frames: Frame[] }[]
  destroyed: Frame[]
}

/** A thread beside the one that hangs: a worker thread that it has started, or a thread of a process below it. */
export interface OtherThread {
  /** `worker thread 3`, ``child 4912 `node job.js` ``, `worker thread 1 of child 4912`. */
  label: string
  pid: number
  /** 0 for the main thread of a process. */
  threadId: number
  /** `unseen`: it was not attached to, and `notes` says why. */
  state: 'blocked' | 'idle' | 'native' | 'unseen'
  sync: HangFacts['sync']
  /** Suspended functions; null when its heap was not looked at. */
  awaits: AwaitFrame[] | null
  /** What the kernel says of its process, most telling first. */
  kernel: string[]
  notes: string[]
}

/** `program`: a process that runs no tests. */
export type Phase = 'start' | 'collect' | 'hook' | 'test' | 'teardown' | 'after-tests' | 'program'

/** Everything that a class may look at. Collected elsewhere; nothing in it is judged. */
export interface HangFacts {
  /** Titles from the outermost suite to the test; null when no test was running. */
  test: string[] | null
  /** Other tests that ran at the same time in the same worker. */
  concurrent: string[][]
  file: Site
  phase: Phase
  /** `beforeAll`, `afterEach`, ...; null outside hooks. */
  hook: string | null
  /** Is the hung test or hook an async function? Absent when that is not known. A `plain` one leaves no suspended function. */
  body?: 'async' | 'plain'
  limitMs: number
  waitedMs: number
  /** ISO 8601. */
  at: string
  pool: string
  /** Name of the vitest project, where there are several. */
  project?: string
  pid: number
  /** vitest's pool id of the worker. */
  worker: number
  run: string
  node: string
  platform: string
  /** `blocked`: the thread did not answer; `idle`: it did. */
  loop: 'blocked' | 'idle'
  sync: {
    frames: Frame[]
    second: Frame[]
    microtasks: 'turning' | 'still' | 'unknown'
    /** In the function that runs again and again: the line that asks for its next turn, when it is another one. */
    turn?: Frame
  } | null
  /** Why the thread could not be asked for its stack; null when it was asked (and may sit in native code). */
  stackError?: string | null
  crumb: { call: string; detail: string; sinceMs: number; frames: Frame[] } | null
  /** Sentences from /proc about the thread, most telling first. */
  kernel: string[]
  /** Suspended functions of the heap, those of the hung test and the others; null when no snapshot was taken. */
  awaits: AwaitFrame[] | null
  /** The heap was too large for a snapshot: who holds what is awaited is not known, and not every function was found. */
  holders?: 'unknown'
  /** The label in `AwaitFrame.owner` that means "this test or hook". */
  owner: string | null
  /** Result of the trace re-run; null when none was made. */
  lost: { proven: boolean; created: Frame[]; awaited: Frame[]; note?: string; streams?: TracedStream[] } | null
  /** Waits for locks in the trace re-run; absent when none were found. */
  locks?: LockWaits
  fakeTimers: { on: boolean; pending: number; installed: Frame[] } | null
  /** Lines in the files of what hangs that put a clock of their own in the place of the timers. */
  clocks?: Frame[]
  /** What is open in the worker; absent or null when that was not recorded. */
  handles?: Handle[] | null
  /** What it waits for; absent when nobody looked. */
  waitedFor?: WaitedFor
  /** Actors of the tree that is open in the worker; absent without one. Sites relative to the project root. */
  actors?: ActorFact
  /** Types from `process.getActiveResourcesInfo()` with their counts; null when not taken. */
  resources: Record<string, number> | null
  processes: ProcessFact[]
  /** Threads and processes that the worker's code has started; absent when nobody looked. */
  others?: OtherThread[]
  /** What could not be had and why. */
  missing: string[]
  /** How long it took to take the evidence. */
  tookMs: number
  /** Time that was given to a part of the look, and what of it was used, one phrase each. */
  budgets?: string[]
}

/** What a class says of a hang. */
export interface Verdict {
  class: string
  variant?: string
  confidence: Confidence
  /** One sentence: who waits, for what, why it cannot come. */
  diagnosis: string
  culprit?: Site
  holder?: Site
  evidence: string[]
  hint?: string
  /** Rings of waits: each member waits for the next one, the last for the first. */
  cycles?: string[][]
  /** Other classes that would also fit, when the confidence is `guess`. */
  alsoConsidered?: string[]
  /** Frames for the error's stack, innermost first. */
  stack: Frame[]
}

/** One hang class: `judge` looks at the facts and answers with a verdict or nothing. One small file per class. */
export interface HangClass {
  readonly name: string
  judge(facts: HangFacts): Verdict | undefined
}
