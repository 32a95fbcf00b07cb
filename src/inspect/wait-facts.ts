/** What the things that a test waits for look like from inside and outside: plain data, nothing is judged. */
import type { RawFrame } from './facts.ts'

/** Which end of a child's or worker's stdio a stream is. `stdio[3]` and so on for what has no name of its own. */
export type StdioPart = 'stdin' | 'stdout' | 'stderr' | 'ipc' | `stdio[${number}]`

/** The readable side of a stream. Lengths in bytes, or in objects for a stream of objects. */
export interface ReadableFact {
  length: number
  highWaterMark: number
  /** True: data flows; false: paused; null: nobody has asked for data yet. */
  flowing: boolean | null
  /** Its source has said that nothing more comes. */
  ended: boolean
  endEmitted: boolean
  /** Listeners for `data` and `readable`, and streams that it is piped into. */
  readers: number
  /** Somebody listens for `readable` and takes the data out by `read()`, as `for await` does. */
  pulled: boolean
}

/** The writable side of a stream. */
export interface WritableFact {
  length: number
  highWaterMark: number
  /** `end()` was called. */
  ended: boolean
  finished: boolean
  needDrain: boolean
  corked: boolean
}

/** A Node stream, or the side of a web stream. */
export interface StreamFact {
  /** Class name. */
  name: string
  destroyed: boolean
  closed: boolean
  errored: boolean
  readable?: ReadableFact
  writable?: WritableFact
  /** What comes out of it is what was written into it. */
  transform?: true
  /** A web stream, which tells nothing of its state. */
  web?: true
  /** Where it is piped to, as far as that stream is what stops it. */
  into?: StreamFact
}

/** A stream as a re-run remembers it, also after it was collected. */
export interface StreamNote {
  stream: StreamFact
  /** Who waits for which of its events, oldest first. */
  listens: { event: string; frames: RawFrame[] }[]
  /** Where `destroy()` was called first; empty when it was not. */
  destroyed: RawFrame[]
}

/** What the kernel tells of a process that was looked at because somebody waits for it. */
export interface KernelView {
  /** One letter as in /proc/pid/stat. */
  state: string
  /** One sentence about what its main thread does. */
  doing: string | null
  /** CPU that it and its descendants used between two looks, milliseconds. */
  cpuMs: number
  /** Between the two looks, milliseconds. */
  spanMs: number
  /** Names of signals; of the usual ones that somebody sends to end or wake a process. */
  caught: string[]
  ignored: string[]
  blocked: string[]
  pending: string[]
}

/** A process at one end of a pipe that the test's process has at the other. */
export interface PipeUser {
  pid: number
  command: string
  part: StdioPart
  /** `write`: it waits until there is room; `read`: it waits for data; `holds`: it merely has it open. */
  does: 'write' | 'read' | 'holds'
}

/** A child process of the thread, seen from both sides. */
export interface ChildFact {
  pid: number
  command: string
  exitCode: number | null
  signalCode: string | null
  /** `kill()` was called on it and the signal could be sent. */
  killed: boolean
  /** It has a message channel that is open. */
  connected: boolean
  /** The parts of its stdio that this thread has an open end of. */
  stdio: { part: StdioPart; stream: StreamFact }[]
  /** Null when it is gone, or nothing is known (not Linux). */
  kernel: KernelView | null
  /** Processes (the child, what it started) that use its stdio. */
  users: PipeUser[]
}

/** A signal that this thread sent. */
export interface SentSignal {
  /** Negative for a process group. */
  pid: number
  /** `SIGTERM` */
  signal: string
  /** Milliseconds since the epoch. */
  at: number
  frames: RawFrame[]
}

/** A call of `fetch`. */
export interface FetchSite {
  /** Port of the url; null when the url has none and is not http. */
  port: number | null
  /** Milliseconds since the epoch. */
  at: number
  frames: RawFrame[]
}

/** A server and who is still connected to it. */
export interface ServerFact {
  /** Null when it listens no more or has no port. */
  port: number | null
  /** Path of a unix socket or name of a pipe. */
  path: string | null
  listening: boolean
  /** Open connections; null when that is not known. */
  connections: number | null
}

/** An object that holds an awaited promise, looked at in the thread itself. */
export interface WaitObject {
  /** Heap object id, as in `HeldBy.id`. */
  id: number
  /** Class name. */
  name: string
  /** Ids that `async_hooks` gives to the system handles behind it. */
  asyncIds: number[]
  stream?: StreamFact
  server?: ServerFact
  /** It is this child, or a part of its stdio. */
  child?: { pid: number; part?: StdioPart }
  /** A worker thread: the ends of its stdio that this thread has. */
  worker?: { threadId: number; stdio: { part: StdioPart; stream: StreamFact }[] }
  /** The `LiveHandle` that it is, or that it stands on (the socket of a request, the input of a readline interface). */
  handle?: number
  /** An AbortSignal: has it fired, and does something of Node's fire it, such as a timer? */
  signal?: { aborted: boolean; driven: boolean }
  /** A request of an HTTP client. */
  request?: { method: string; path: string; host: string; sent: boolean }
  /** A timer: after how many milliseconds it runs, again and again when it repeats. */
  timer?: { ms: number; repeats: boolean }
  /** Ports of a connection. */
  socket?: { localPort: number | null; remotePort: number | null; connecting: boolean }
}

/** What a thread tells about what its tests wait for. */
export interface WaitFacts {
  objects: WaitObject[]
  /** Children that are alive, or that somebody waits for. */
  children: ChildFact[]
  /** Open connections of this thread, for finding who keeps a server open. */
  sockets: OpenSocket[]
}

/** A connection that is open in this thread. */
export interface OpenSocket {
  asyncId: number | null
  localPort: number | null
  remotePort: number | null
  /** It was accepted by a server of this thread. */
  accepted: boolean
}
