/** The contract of a spawn backend: the rest of the runtime uses nothing else of it. */
import type { ProcessIdentity } from '../process/identity.ts'
import type { Ahead } from '../wire/ahead.ts'
import type { Aid } from '../wire/messages.ts'
import type { Transport } from '../wire/transport.ts'
import type { SpawnMethod } from './methods.ts'

/** Where an actor's stdout and stderr go; stdin is never inherited. */
export type ActorOutput =
  | { mode: 'file'; path: string }
  /** Always drained, line by line. */
  | { mode: 'pipe'; line(stream: 'stdout' | 'stderr', text: string): void }
  | { mode: 'inherit' }

/** What a backend is asked for. */
export interface SpawnRequest {
  aid: Aid
  /** Address that the child dials, for backends whose handle has no `link`. */
  parentAddr: string
  /** What the parent says first, for a backend that hands it to the child before that dials. */
  ahead?: Ahead
  /** Node flags of the child. */
  execArgv: readonly string[]
  /** The whole environment of the child, labels included. */
  env: Readonly<Record<string, string>>
  output: ActorOutput
  /** Options of this backend (`spawnOpts`), as they passed {@link Backend.checkOptions}. */
  options: Readonly<Record<string, unknown>>
}

/** How an actor ended. */
export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  /** Why it never ran, or what it threw at the top: an unspawnable program, the `error` event of a worker. */
  error?: unknown
  /** It still runs, but nobody waits for it any more. */
  abandoned?: boolean
}

/** Result of the last rung. */
export interface KillReport {
  /** False when it is still not gone after `killConfirm`. */
  gone: boolean
  /** Other processes that were ended with it. */
  ended: readonly { pid: number; command: string }[]
  /** What could not be ended, with the reason. */
  left: readonly { pid: number; command: string; reason: string }[]
}

/** One actor as its parent sees it. Every member is safe to call after the end. */
export interface ActorHandle {
  readonly method: SpawnMethod
  /** `pid 4912`, `thread 3`. */
  readonly id: string
  /** Process of its own; undefined for threads and contexts, and when it could not be started. */
  readonly pid: number | undefined
  readonly threadId: number | undefined
  /** The parent link where the backend makes one; null when the child dials the parent's address. */
  readonly link: Transport | null
  /**
   * Waits for the end ('exit', never 'close', R-009). Repeated and concurrent calls get the same value; an aborted signal
   * rejects with its reason within a tick and leaves the actor alone.
   */
  wait(signal?: AbortSignal): Promise<Exit>
  /** The end, if it has come. */
  poll(): Exit | undefined
  /** SIGINT, where there are signals. @returns false when it cannot be done */
  interrupt(): boolean
  /** Asks to end from outside: SIGTERM, `worker.terminate()`. */
  terminate(): boolean
  /** Ends it and everything below it by force, and waits at most `limitMs` for that. Never rejects. */
  kill(limitMs: number): Promise<KillReport>
  /** Nobody waits for it any more: `wait()` settles with `abandoned`, its link is broken. */
  abandon(): void
  /** Its process and everything below it, parents first; empty for threads. */
  subtree(): ProcessIdentity[]
  /** Last lines of its output, for errors; '' when there are none. */
  outputTail(): string
  /** `spawn actor tally, pid 4912, running` */
  describe(): string
}

export interface Backend {
  readonly method: SpawnMethod
  /** One actor is a process of its own: signals, working directory, pid. */
  readonly ownProcess: boolean
  /** The link is a socket of the child's making. */
  readonly dialsBack: boolean
  /** Is everything there that it needs? A sentence about what is missing, else true. Cheap. */
  available(): true | string
  /** Starts something real and sees it end, once per process; at most 5 s. */
  selfTest(): Promise<true | string>
  /** @throws UsageError for an unknown option or a wrong value */
  checkOptions(options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>
  /** Starts an actor. What goes wrong is told by `wait()`; nothing is thrown. */
  spawn(request: SpawnRequest): ActorHandle
}
