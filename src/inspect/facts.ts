/**
 * Facts about one Node process or thread, as taken: positions are those of the code that runs (generated code),
 * nothing is judged yet. Everything here is plain data that survives `structuredClone` and JSON.
 */

/** A position in running code; `url` as V8 knows the script (a path, a `file:` URL or a `node:` name), 1-based. */
export interface Position {
  url: string
  line: number
  column: number
}

/** One frame of a stack, before source maps. */
export interface RawFrame {
  /** Function name, '' when anonymous. */
  fn: string
  at: Position | null
  /** Rendered locals (at most 8, 120 characters each, no getter was run), arguments first. */
  locals?: Record<string, string>
}

/** The stack of a thread that was running JavaScript. */
export interface SyncStack {
  /** Innermost first. */
  frames: RawFrame[]
  /** A second sample some milliseconds later; an empty list when it could not be taken. */
  second: RawFrame[]
  /**
   * Did a microtask queued at the first sample run before the second? `turning`: promise jobs (or `nextTick`) keep
   * the loop away; `still`: one synchronous call does; `unknown`: could not be tested.
   */
  microtasks: 'turning' | 'still' | 'unknown'
}

/** What keeps the awaited promise alive: the path from a named owner down to the promise, e.g. `Server._events.close`. */
export interface HeldBy {
  /** Class of the named owner: `Timeout`, `Server`, `Worker`, `FSWatcher`, `Lock`, ... */
  owner: string
  /** Readable path from the owner to the awaited promise, e.g. `Server._events.close`. */
  path: string
  /** Event name, when the path goes through an emitter's listener table. */
  event?: string
  /** True when the path goes through a fake clock's timer table (`@sinonjs/fake-timers`). */
  fakeClock?: boolean
  /** Heap object id of the owner, when it is an object. */
  id?: number
  /** The child process or stream that the owner listens to, when the owner is an object of the user's. */
  behind?: { owner: string; path: string; event: string; id: number }
}

/** A suspended async function, async generator or module body. */
export interface SuspendedFunction {
  /** Heap object id; stable for the life of the process once a snapshot was taken. */
  id: number
  /** Function name, '' for an arrow function. */
  fn: string
  /** Script url, '' when unknown. */
  script: string
  /** True when the script is the user's code: not `node:`, not `node_modules`, not harrow's. */
  user: boolean
  /** Where the function is defined. */
  definedAt: Position | null
  /** Position of the very `await` (or `yield`); null when it was not resolved (budget). */
  at: Position | null
  locals?: Record<string, string>
  /** It awaits `Promise.all` and its like (not `race`): which of the members are pending, counted from 0. */
  members?: { of: string; pending: number[] }
  /** Ids of the suspended functions that wait for this one. */
  awaitedBy: number[]
  /** Label of the section that (transitively) awaits it, see `OwnerRule`; null when nothing of ours awaits it. */
  owner: string | null
  /** For a leaf: who holds the promise that it awaits. Empty when nobody was found. */
  heldBy: HeldBy[]
  /** So many of it wait at the same place below the same waiters; absent for one. */
  count?: number
}

/** Result of looking at an idle thread's heap. */
export interface AsyncFacts {
  /** User functions first, then the others that lie between or below them. */
  suspended: SuspendedFunction[]
  /** Nodes in the snapshot. */
  nodes: number
  tookMs: number
  /** What was left out and why, one sentence each. */
  notes: string[]
}

/** A handle that is open now: a timer, server, socket, watcher, worker, channel, child process. */
export interface LiveHandle {
  /** Unique within the thread; grows with time. */
  id: number
  /**
   * Closed list: `Timeout`, `Interval`, `Immediate`, `Server`, `Socket`, `UnixServer`, `UnixSocket`, `UdpSocket`, `Pipe`,
   * `FSWatcher`, `StatWatcher`, `FileHandle`, `Worker`, `MessagePort`, `BroadcastChannel`, `ChildProcess`, `Signal`, `Tty`,
   * `Descriptor`; anything else keeps the name that Node's `async_hooks` has for it.
   */
  kind: string
  /** One phrase that tells it from others of its kind: `every 20 ms`, `127.0.0.1:4711`, `/tmp/x`, `4912 \`sleep 100\``; may be ''. */
  what: string
  /** Does it keep the process alive? */
  ref: boolean
  ageMs: number
  /** Where it was made, innermost first; Node's own frames included; empty when that is not known. */
  created: RawFrame[]
  /** For a child process. */
  pid?: number
  /** For a worker thread. */
  threadId?: number
}

/** A synchronous call that a thread entered and has not left (see `breadcrumbs.ts`). */
export interface Breadcrumb {
  /** `child_process.execFileSync`, `fs.readFileSync`, `Atomics.wait`. */
  call: string
  /** First arguments, shortened and redacted: a command line, a path. */
  detail: string
  /** Wall clock, milliseconds since the epoch. */
  since: number
  /** Call site, innermost first. */
  frames: RawFrame[]
}

/** A promise that was collected while pending, seen in trace mode (see `promise-trace.ts`). */
export interface LostPromise {
  /** Where the promise was made, innermost first. */
  created: RawFrame[]
  /** Where it was awaited, innermost first. */
  awaited: RawFrame[]
}

/** A line of the process table. */
export interface ProcessFact {
  pid: number
  ppid: number
  /** One letter as in /proc/pid/stat: R S D Z T t I. */
  state: string
  wchan: string | null
  cpuPercent?: number
  rssBytes?: number
  ageMs?: number
  /** Command line, shortened. */
  command: string
}
