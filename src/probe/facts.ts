/** What `harrow dump` knows of a process, before anything is judged. Positions are those of the code that runs. */
import type { AsyncFacts, ProcessFact, RawFrame, SyncStack } from '../inspect/facts.ts'

/** What a process says of itself. */
export interface About {
  pid: number
  version: string
  platform: string
  arch: string
  argv: string[]
  execArgv: string[]
  cwd: string
  heapUsed: number
}

/** An open handle as the process lists it. */
export interface ResourceFact {
  type: string
  ref: boolean
  what: string
  pid?: number
}

/**
 * `idle`: the event loop turns; `blocked`: JavaScript keeps it from turning; `native`: it answers nothing, so it sits in a
 * system call or in native code; `paused`: a debugger holds it at a line.
 */
export type LoopState = 'idle' | 'blocked' | 'native' | 'paused'

/** One thread that runs JavaScript. */
export interface ThreadLook {
  /** 0 for the main thread. */
  threadId: number
  name: string
  url: string
  state: LoopState
  about: About | null
  sync: SyncStack | null
  /** A loop that turns and uses much CPU: where it was found most often, innermost first. */
  hot: RawFrame[]
  async: AsyncFacts | null
  resources: { counts: Record<string, number>; list: ResourceFact[] } | null
  /** Lines of those of its scripts that lie in no file, by their urls. */
  texts: Map<string, string[]>
  notes: string[]
}

/** What the system tells of a process without its help. */
export interface OutsideLook {
  pid: number
  ppid: number | null
  command: string
  /** Is it a Node process? */
  isNode: boolean
  cwd: string | null
  uid: number | null
  /** One letter as in `/proc/pid/stat`; `?` where the system does not tell. */
  state: string
  cpuPercent: number | null
  rssBytes: number | null
  ageMs: number | null
  /** Sentences about its threads, most telling first. */
  kernel: string[]
  /** Itself and its descendants, each parent before its children. */
  processes: ProcessFact[]
}

/** Everything about one process. */
export interface ProcessFacts {
  outside: OutsideLook
  /** The main thread first; empty when it was not attached to. */
  threads: ThreadLook[]
  /** Why nothing was seen from inside; null when it was. */
  closed: string | null
  /** A debugger is connected beside us. */
  debugged: boolean
  /** The inspector was open before, and stays so. */
  wasOpen: boolean
  /** It ended while it was looked at. */
  ended: boolean
  /** Why a process looks at itself; null when another one looks at it. */
  reason: string | null
  notes: string[]
  at: string
  tookMs: number
}
