/** The hang dump as data, format 1. The text form is rendered from this record and from nothing else. */
import type { Confidence, Site } from '../errors.ts'
import type { HeldBy, ProcessFact } from '../inspect/facts.ts'
import type { ChildFact, FetchSite, SentSignal, WaitFacts } from '../inspect/wait-facts.ts'
import type { Phase } from './facts.ts'

export { parseDumpRecord } from './parse-record.ts'

/** Raised when a field changes its meaning; new fields do not raise it. */
export const DUMP_FORMAT = 1

export interface DumpFrame {
  fn: string
  site: Site
  source?: string
  /** The line below `source`, when the statement goes on there. */
  next?: string
  locals?: Record<string, string>
  /** False for frames of Node, packages and harrow; absent means true. */
  user?: boolean
  /** So many frames were folded into this one. */
  hidden?: number
}

/** Who can still settle what a leaf of the await graph waits for. */
export interface DumpWait {
  /** From a closed list; `promise`: only the program's own code. */
  reason:
    | 'lock'
    | 'event'
    | 'timer'
    | 'io'
    | 'stream item'
    | 'stream space'
    | 'process exit'
    | 'worker message'
    | 'module load'
    | 'promise'
  /** A phrase: `'exit' of child 4912 \`node job.js\``. */
  for: string
  /** Where that was made. */
  created?: Site
}

/** A suspended function in the await graph. */
export interface DumpAwait extends DumpFrame {
  wait?: DumpWait
  /** It awaits a combinator of promises: which of its members are pending, counted from 0. */
  members?: { of: string; pending: number[] }
  id: number
  awaitedBy: number[]
  owner: string | null
  heldBy: HeldBy[]
  /** False: `site` is where the function is defined, the line of its `await` is not known. */
  exact: boolean
  /** So many of it wait at this place below the same waiters; absent for one. */
  count?: number
}

/** A process that runs no tests, as it was when the dump was taken. */
export interface DumpProgram {
  command: string
  /** Folder that paths of sites are relative to. */
  cwd?: string
  /** Id of the user whose process it is. */
  uid?: number
  /** One letter as in `/proc/pid/stat`; `?` where the system does not tell. */
  state: string
  /** Share of one CPU, over a quarter of a second. */
  cpuPercent?: number
  rssBytes?: number
  /** Heap of the main thread in use. */
  heapBytes?: number
  ageMs?: number
  /** As which its inspector was found, and left: `closed`, `open`, or with a `debugger` connected. */
  inspector?: 'closed' | 'open' | 'debugger'
  /** Why the process took the dump of itself; absent when another process took it. */
  reason?: string
  /** Why nothing was seen from inside. */
  notAttached?: string
}

export interface DumpHeader {
  /** Titles from the outermost suite to the test; null when no test was running. */
  test: string[] | null
  file: Site
  phase: Phase
  hook?: string
  limitMs: number
  waitedMs: number
  /** ISO 8601. */
  at: string
  /** The pool of the worker, or the backend of the actor. */
  backend: string
  /** Name of the vitest project, where there are several. */
  project?: string
  pid: number
  run: string
  node?: string
  platform?: string
  /** vitest's pool id of the worker. */
  worker?: number
  /** Tests that ran at the same time in the same worker. */
  concurrent?: string[][]
  /** `blocked`: the thread did not answer; `idle`: it did. */
  loop?: 'blocked' | 'idle'
  /** For phase `program`: the process. `limitMs` and `waitedMs` are 0 then, and `run` is empty. */
  program?: DumpProgram
}

export interface DumpVerdict {
  class: string
  variant?: string
  confidence: Confidence
  diagnosis: string
  culprit?: Site
  holder?: Site
  evidence: string[]
  hint?: string
  alsoConsidered?: string[]
  /** Ids of the members of each cycle. */
  cycles?: string[][]
  /** The frame at `culprit`, with its source line. */
  culpritFrame?: DumpFrame
}

export interface DumpTask {
  id: string
  name?: string
  kind?: 'task' | 'nursery'
  parent: string | null
  state: 'running' | 'parked' | 'done' | 'cancelling'
  wait?: { reason: string; sinceMs: number; on?: string; by?: string }
  created?: Site
  frames?: DumpFrame[]
}

export interface DumpResource {
  id: string
  type: string
  ref: boolean
  ageMs?: number
  what?: string
  created?: Site
  /** Another tool that told `created`, in the second run. */
  by?: string
}

/** One thread that runs JavaScript; `root` is the worker that hangs, `main` the main thread of a program. */
export interface DumpActor {
  path: string
  pid: number
  answered: boolean
  /** Innermost first. Absent: no stack was taken; empty: no JavaScript was running. */
  syncStack?: DumpFrame[]
  /** A second look some milliseconds later. */
  secondStack?: DumpFrame[]
  microtasks?: 'turning' | 'still' | 'unknown'
  /** A synchronous call that was entered and not left. */
  crumb?: { call: string; detail: string; sinceMs: number; frames: DumpFrame[] }
  /** What the kernel says of the thread, one sentence each. */
  kernel?: string[]
  /** Suspended functions; absent when no snapshot was taken. */
  awaits?: DumpAwait[]
  /** Label in `DumpAwait.owner` that means the hung test or hook. */
  owner?: string | null
  tasks: DumpTask[]
  resources: DumpResource[]
  /** Kinds of active resources with their counts, where single ones are not known. */
  resourceCounts?: Record<string, number>
}

/** A thread beside the actors: a worker thread of the hung worker, or a thread of a process below it. */
export interface DumpOther {
  /** `worker thread 3`, ``child 4912 `node job.js` ``. */
  label: string
  pid: number
  /** 0 for the main thread of a process. */
  threadId: number
  state: 'blocked' | 'idle' | 'native' | 'unseen'
  /** The line that started it. */
  created?: Site
  syncStack?: DumpFrame[]
  secondStack?: DumpFrame[]
  microtasks?: 'turning' | 'still' | 'unknown'
  awaits?: DumpAwait[]
  kernel?: string[]
  /** What is missing and why. */
  notes?: string[]
}

export interface DumpProcess extends Omit<ProcessFact, 'command'> {
  command?: string
  actor?: string
  orphan?: boolean
}

export interface DumpRecord {
  format: typeof DUMP_FORMAT
  header: DumpHeader
  verdict: DumpVerdict
  actors: DumpActor[]
  processes: DumpProcess[]
  /** Commands that run the hung test again. */
  reproduce: string[]
  capture: {
    tookMs?: number
    missing?: string[]
    redacted?: number
    /** Time that was given to a part of the look, and what of it was used, one phrase each. */
    budgets?: string[]
  }
  /** Result of the run with promises traced. */
  lost?: {
    proven: boolean
    created: DumpFrame[]
    awaited: DumpFrame[]
    note?: string
    /** Streams that were in use and not through, one phrase each. */
    streams?: string[]
  }
  fakeTimers?: { on: boolean; pending: number; installed: DumpFrame[] }
  /** The objects that hold what is awaited, the children and connections of the worker, and calls that bear on them. */
  waitedFor?: DumpWaitedFor
  /** Threads and processes that the code of the hung worker has started. */
  others?: DumpOther[]
}

/** `children` come with the place where they were started. */
export interface DumpWaitedFor extends Omit<WaitFacts, 'children'> {
  children: (ChildFact & { created?: Site })[]
  signals: (Omit<SentSignal, 'frames'> & { frames: DumpFrame[] })[]
  fetches: (Omit<FetchSite, 'frames'> & { frames: DumpFrame[] })[]
}
