/**
 * Every error class of harrow. `code` is the contract; class checks go through {@link isHarrowError}, which uses a
 * `Symbol.for` brand, so that two copies of harrow in one process agree. This file imports nothing.
 */

const BRAND = Symbol.for('harrow.error')

/** The stable codes. `ERRORS.md` lists each with its cause and its cure; a test compares the two. */
export type HarrowErrorCode =
  | 'HARROW_USAGE'
  | 'HARROW_HANG'
  | 'HARROW_LEAK'
  | 'HARROW_ORPHAN'
  | 'HARROW_PROBE'
  | 'HARROW_INTERNAL'
  | 'HARROW_CANCELLED'
  | 'HARROW_TIMEOUT'
  | 'HARROW_GROUP'
  | 'HARROW_REMOTE'
  | 'HARROW_OVERRUN'
  | 'HARROW_END_OF_STREAM'
  | 'HARROW_MSG_TYPE'
  | 'HARROW_ACTOR_DIED'
  | 'HARROW_TOO_SLOW'
  | 'HARROW_CLOSED'
  | 'HARROW_NOT_EXPOSED'
  | 'HARROW_NO_RUNTIME'
  | 'HARROW_RUNTIME'
  | 'HARROW_PROTOCOL'
  | 'HARROW_BACKEND'

/** Base class, never thrown itself. */
export class HarrowError extends Error {
  /** Stable code of this kind of error. */
  readonly code: HarrowErrorCode

  constructor(code: HarrowErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    Object.defineProperty(this, BRAND, { value: true })
  }
}
Object.defineProperty(HarrowError.prototype, 'name', { value: 'HarrowError', writable: true, configurable: true })

/** A wrong option, argument or call. The message says what was expected, what came, and what to do. */
export class UsageError extends HarrowError {
  constructor(message: string, options?: ErrorOptions) {
    super('HARROW_USAGE', message, options)
  }
}
Object.defineProperty(UsageError.prototype, 'name', { value: 'UsageError', writable: true, configurable: true })

/** How sure a diagnosis is: `certain` (the facts rule out progress), `likely`, `guess` (alternatives are listed). */
export type Confidence = 'certain' | 'likely' | 'guess'

/** A place in a source file; `path` is relative to the project root, `line` and `column` start at 1. */
export interface Site {
  path: string
  line: number
  column?: number
}

/** What a {@link HangError} carries besides its message. */
export interface HangErrorDetails {
  hangClass: string
  confidence: Confidence
  diagnosis: string
  culprit?: Site
  holder?: Site
  /** Path of the dump's text file, absent when it could not be written. */
  dumpPath?: string
}

/** A test, hook or file that never ended; harrow ended it. The message is the diagnosis. */
export class HangError extends HarrowError {
  readonly details: HangErrorDetails

  constructor(message: string, details: HangErrorDetails) {
    super('HARROW_HANG', message)
    this.details = details
  }
}
Object.defineProperty(HangError.prototype, 'name', { value: 'HangError', writable: true, configurable: true })

/** A handle that outlived its test, with `leaks: 'error'`. The message is the diagnosis. */
export class LeakError extends HarrowError {
  constructor(message: string, options?: ErrorOptions) {
    super('HARROW_LEAK', message, options)
  }
}
Object.defineProperty(LeakError.prototype, 'name', { value: 'LeakError', writable: true, configurable: true })

/** A process that outlived what had started it, with `orphans: 'error'`. The message is the diagnosis. */
export class OrphanError extends HarrowError {
  constructor(message: string, options?: ErrorOptions) {
    super('HARROW_ORPHAN', message, options)
  }
}
Object.defineProperty(OrphanError.prototype, 'name', { value: 'OrphanError', writable: true, configurable: true })

/** A step of taking evidence failed (inspector not reachable, no answer in time, unreadable snapshot). */
export class ProbeError extends HarrowError {
  constructor(message: string, options?: ErrorOptions) {
    super('HARROW_PROBE', message, options)
  }
}
Object.defineProperty(ProbeError.prototype, 'name', { value: 'ProbeError', writable: true, configurable: true })

/** A bug in harrow itself; the message asks for a report. */
export class InternalError extends HarrowError {
  constructor(message: string, options?: ErrorOptions) {
    super('HARROW_INTERNAL', `${message} (a bug in harrow: please report it)`, options)
  }
}
Object.defineProperty(InternalError.prototype, 'name', { value: 'InternalError', writable: true, configurable: true })

/** Who asked for a cancellation: `interrupt` is SIGINT, `context` and `actor` came over a channel. */
export type CancelSource = 'explicit' | 'deadline' | 'sibling' | 'parent' | 'interrupt' | 'context' | 'actor' | 'signal'

/** Actor identity as it stands in errors: its name and the uuid that tells it from others of that name. */
export type Uid = readonly [name: string, uuid: string]

/** What a {@link CancelledError} tells beside its message. */
export interface CancelDetails {
  source: CancelSource
  /** Name of the task, scope or actor that asked, as text, so that no object is held. */
  by?: string
  /** The error of a sibling that led to it, or the reason of the `AbortSignal` that did. */
  cause?: unknown
}

/**
 * A scope was cancelled, and a wait inside it ends with this error. It is also the `reason` of the scope's `AbortSignal`,
 * so that whatever takes the signal rejects with the very same object. The scope that was cancelled takes it in;
 * it never leaves that scope.
 */
export class CancelledError extends HarrowError {
  readonly source: CancelSource
  readonly by: string | undefined

  constructor(message: string, { source, by, cause }: CancelDetails) {
    super('HARROW_CANCELLED', message, cause === undefined ? undefined : { cause })
    this.source = source
    this.by = by
  }
}
named(CancelledError, 'CancelledError')

/** The deadline of a scope passed. What leaves `failAfter` is a {@link TimeoutError} instead. */
export class DeadlineExceeded extends CancelledError {
  /** Milliseconds that the scope was given. */
  readonly limitMs: number

  constructor(message: string, limitMs: number, details: Omit<CancelDetails, 'source'> = {}) {
    super(message, { source: 'deadline', ...details })
    this.limitMs = limitMs
  }
}
named(DeadlineExceeded, 'DeadlineExceeded')

/** SIGINT reached the root actor, or a child with `childSigint: 'runtime'`. */
export class Interrupted extends CancelledError {
  constructor(message = 'interrupted by SIGINT', details: Omit<CancelDetails, 'source'> = {}) {
    super(message, { source: 'interrupt', ...details })
  }
}
named(Interrupted, 'Interrupted')

/** What a {@link ContextCancelled} tells beside its message. */
export interface ContextCancelDetails extends Omit<CancelDetails, 'source' | 'by'> {
  /** Actor that asked for the cancellation; absent when a transport ended abruptly. */
  canceller?: Uid
  /** Actor whose task was cancelled. */
  srcUid?: Uid
  relayPath?: readonly Uid[]
}

/** A task in another actor was cancelled, by `canceller`. */
export class ContextCancelled extends CancelledError {
  readonly canceller: Uid | undefined
  readonly srcUid: Uid | undefined
  readonly relayPath: readonly Uid[]

  constructor(message: string, { canceller, srcUid, relayPath = [], cause }: ContextCancelDetails = {}) {
    super(message, { source: 'context', ...(canceller && { by: canceller[0] }), cause })
    this.canceller = canceller
    this.srcUid = srcUid
    this.relayPath = relayPath
  }
}
named(ContextCancelled, 'ContextCancelled')

/** One for each child that a nursery had to cancel without its consent. */
export class ActorCancelled extends ContextCancelled {}
named(ActorCancelled, 'ActorCancelled')

/** A limit that the caller asked to be told about has passed (`failAfter`, `shield`). */
export class TimeoutError extends HarrowError {
  /** What took too long. */
  readonly what: string
  readonly limitMs: number

  constructor(what: string, limitMs: number, options?: ErrorOptions) {
    super('HARROW_TIMEOUT', `${what} took longer than ${limitMs} ms`, options)
    this.what = what
    this.limitMs = limitMs
  }
}
named(TimeoutError, 'TimeoutError')

/**
 * Several tasks of a nursery failed; `errors` holds them in the order in which they failed, without the cancellations
 * that the first one caused. A group of one never leaves a nursery.
 */
export class TaskGroupError extends AggregateError {
  readonly code: HarrowErrorCode = 'HARROW_GROUP'

  constructor(errors: readonly unknown[], message?: string) {
    super(errors, message ?? `${errors.length} tasks failed: ${errors.map(headline).join('; ')}`)
    Object.defineProperty(this, BRAND, { value: true })
  }
}
named(TaskGroupError, 'TaskGroupError')

/** Several actors of an actor nursery failed, or its body and an actor did; one member for each. */
export class ActorGroupError extends TaskGroupError {
  constructor(errors: readonly unknown[], message?: string) {
    super(errors, message ?? `${errors.length} actors failed: ${errors.map(headline).join('; ')}`)
  }
}
named(ActorGroupError, 'ActorGroupError')

/** What a {@link RemoteActorError} tells. */
export interface RemoteErrorDetails {
  /** Actor in which the error was first thrown. */
  srcUid: Uid
  /** Class name of the first error. */
  srcTypeName: string
  /** Class name of what the last hop sent: `RemoteActorError` when the error came over more than one. */
  boxedTypeName: string
  /** That class, when it is known here. */
  boxedType: ErrorClass | null
  srcType: ErrorClass | null
  /** Actors that passed the error on, the origin first. */
  relayPath: readonly Uid[]
  /** Stack as text, as it was in the origin. */
  remoteStack: string
  /** Message of the first error. */
  remoteMessage: string
  /** Rebuilds the first error; see {@link RemoteActorError.unwrap}. */
  rebuild?: () => unknown
}

/** A class of errors; `never` since harrow calls it defensively. */
// biome-ignore lint/suspicious/noExplicitAny: a constructor with any parameters
export type ErrorClass = abstract new (...args: any[]) => Error

/** Code in another actor threw. */
export class RemoteActorError extends HarrowError {
  readonly srcUid: Uid
  readonly srcTypeName: string
  readonly boxedTypeName: string
  readonly boxedType: ErrorClass | null
  readonly srcType: ErrorClass | null
  readonly relayPath: readonly Uid[]
  readonly remoteStack: string
  readonly remoteMessage: string
  readonly #rebuild: (() => unknown) | undefined

  constructor(message: string, details: RemoteErrorDetails, code: HarrowErrorCode = 'HARROW_REMOTE') {
    super(code, message)
    this.srcUid = details.srcUid
    this.srcTypeName = details.srcTypeName
    this.boxedTypeName = details.boxedTypeName
    this.boxedType = details.boxedType
    this.srcType = details.srcType
    this.relayPath = details.relayPath
    this.remoteStack = details.remoteStack
    this.remoteMessage = details.remoteMessage
    this.#rebuild = details.rebuild
  }

  /** Actor that passed the error on to us. */
  get relayUid(): Uid {
    return this.relayPath.at(-1) ?? this.srcUid
  }

  /**
   * The error as it was thrown in its actor when its class is known here, else an `Error` that quotes its class, message
   * and stack.
   */
  unwrap(): unknown {
    if (this.#rebuild) return this.#rebuild()
    return new Error(`${this.srcTypeName}: ${this.remoteMessage}\n${this.remoteStack}`)
  }
}
named(RemoteActorError, 'RemoteActorError')

/** The receiver of a stream was too slow for the agreed buffer. */
export class StreamOverrun extends RemoteActorError {
  constructor(message: string, details: RemoteErrorDetails) {
    super(message, details, 'HARROW_OVERRUN')
  }
}
named(StreamOverrun, 'StreamOverrun')

/** A stream was ended by its sender; every later `receive()` throws the same object. */
export class EndOfStream extends HarrowError {
  constructor(message = 'the stream has ended') {
    super('HARROW_END_OF_STREAM', message)
  }
}
named(EndOfStream, 'EndOfStream')

/** A value that cannot travel, or a message that is not what was agreed. `path` leads to the value. */
export class MsgTypeError extends HarrowError {
  readonly path: string | undefined

  constructor(message: string, options?: ErrorOptions & { path?: string }) {
    super('HARROW_MSG_TYPE', message, options)
    this.path = options?.path
  }
}
named(MsgTypeError, 'MsgTypeError')

/** How an actor ended. */
export interface ActorEnd {
  uid: Uid
  backend: string
  /** `pid 4912` or `thread 3`. */
  where?: string
  exitCode?: number | null
  signal?: string | null
  /** Last lines of what it printed. */
  output?: string
  phase?: 'boot' | 'run'
}

/** An actor never came up, or ended without a word. */
export class ActorFailure extends HarrowError {
  readonly uid: Uid
  readonly backend: string
  readonly exitCode: number | null
  readonly signal: string | null
  readonly output: string
  readonly phase: 'boot' | 'run'

  constructor(message: string, end: ActorEnd, options?: ErrorOptions) {
    super('HARROW_ACTOR_DIED', message, options)
    this.uid = end.uid
    this.backend = end.backend
    this.exitCode = end.exitCode ?? null
    this.signal = end.signal ?? null
    this.output = end.output ?? ''
    this.phase = end.phase ?? 'run'
  }
}
named(ActorFailure, 'ActorFailure')

/**
 * An actor did not acknowledge a cancel request in time: whoever asked has to insist. On purpose no kind of
 * {@link TimeoutError} or {@link DeadlineExceeded}, so that a broad catch cannot swallow it.
 */
export class ActorTooSlowError extends HarrowError {
  readonly uid: Uid
  readonly waitedMs: number

  constructor(message: string, uid: Uid, waitedMs: number) {
    super('HARROW_TOO_SLOW', message)
    this.uid = uid
    this.waitedMs = waitedMs
  }
}
named(ActorTooSlowError, 'ActorTooSlowError')

/** The actor at the other end of a channel that has broken, as far as this side knows it. */
export interface LostActor {
  uid: Uid
  /** What waited for it: `call tally.add`, `context tally.counter`. */
  during: string
  /** The next ones only of a child of this actor: `spawn`, `pid 4912`. */
  backend?: string
  where?: string
  /** How it ended; both absent when it has not, and the channel alone has broken. */
  exitCode?: number | null
  signal?: string | null
}

/**
 * A channel is closed or broken; `by` says whose doing that was. Of a call, a context or a stream that waited, `actor`
 * says who was at the other end, and how that one ended where it was a child; the `cause` is its {@link ActorFailure} then,
 * unless it ended with exit code 0.
 */
export class TransportClosed extends HarrowError {
  readonly by: 'peer' | 'local' | 'unknown'
  /** How loud this is to be logged: an expected end is `transport`, damage is `error`. */
  readonly logLevel: 'transport' | 'error'
  readonly actor: LostActor | undefined

  constructor(
    message: string,
    {
      by,
      cause,
      logLevel = 'transport',
      actor,
    }: { by: 'peer' | 'local' | 'unknown'; cause?: unknown; logLevel?: 'transport' | 'error'; actor?: LostActor },
  ) {
    super('HARROW_CLOSED', message, cause === undefined ? undefined : { cause })
    this.by = by
    this.logLevel = logLevel
    this.actor = actor
  }
}
named(TransportClosed, 'TransportClosed')

/** A call to a module that the actor does not expose. */
export class ModuleNotExposed extends HarrowError {
  constructor(message: string) {
    super('HARROW_NOT_EXPOSED', message)
  }
}
named(ModuleNotExposed, 'ModuleNotExposed')

/** There is no actor runtime here. */
export class NoRuntime extends HarrowError {
  constructor(message: string) {
    super('HARROW_NO_RUNTIME', message)
  }
}
named(NoRuntime, 'NoRuntime')

/** The runtime is in a state that does not allow what was asked, such as a second root. */
export class RuntimeFailure extends HarrowError {
  constructor(message: string, options?: ErrorOptions) {
    super('HARROW_RUNTIME', message, options)
  }
}
named(RuntimeFailure, 'RuntimeFailure')

/** A peer does not keep to the protocol, speaks another version of it, or is not who it should be. */
export class MessagingError extends HarrowError {
  constructor(message: string, options?: ErrorOptions) {
    super('HARROW_PROTOCOL', message, options)
  }
}
named(MessagingError, 'MessagingError')

/** A spawn backend is unknown, or cannot work here; the message says what is missing and which one works. */
export class BackendUnavailableError extends HarrowError {
  readonly backend: string

  constructor(message: string, backend: string, options?: ErrorOptions) {
    super('HARROW_BACKEND', message, options)
    this.backend = backend
  }
}
named(BackendUnavailableError, 'BackendUnavailableError')

/** A reserved or dead-end backend was used. */
export class NotImplementedSpawnMethodError extends BackendUnavailableError {}
named(NotImplementedSpawnMethodError, 'NotImplementedSpawnMethodError')

/** What `portal.waitForResult()` gives for an actor that has no main task. */
export const NoResult: unique symbol = Symbol.for('harrow.no-result')

const CAUSES_LOOKED_AT = 8

/**
 * Is this error the cancellation of a scope? Looks through `cause`, since Node's own functions reject with an `AbortError`
 * whose cause is the reason of the signal. A group is one only if every member is ({@link isMultiCancelled}).
 */
export function isCancelled(error: unknown): boolean {
  let at = error
  try {
    for (let depth = 0; depth < CAUSES_LOOKED_AT && typeof at === 'object' && at !== null; depth++) {
      const { code, name, cause } = at as { code?: unknown; name?: unknown; cause?: unknown }
      if (code === 'HARROW_CANCELLED' && BRAND in at) return true
      if (name !== 'AbortError') return false
      at = cause
    }
  } catch {
    // A getter that throws: no error of ours, and none of Node's.
  }
  return false
}

/** True when every leaf of a tree of groups is a cancellation; the error is not changed. */
export function isMultiCancelled(error: unknown): boolean {
  const open: unknown[] = [error]
  const seen = new Set<unknown>()
  while (open.length > 0) {
    const one = open.pop()
    if (seen.has(one)) continue
    seen.add(one)
    if (one instanceof AggregateError && one.errors.length > 0) open.push(...one.errors)
    else if (!isCancelled(one)) return false
  }
  return true
}

function headline(error: unknown): string {
  return thrownText(error, ({ name, message }) => `${name}: ${message}`)
    .split('\n', 1)[0]!
    .slice(0, 120)
}

/**
 * What to say of anything that was thrown. Never throws itself: what handles an error must come to its end also when that has a
 * message that is no text, no prototype, or getters that throw.
 *
 * @param said of an error; its message by default
 * @internal
 */
export function thrownText(thrown: unknown, said: (error: Error) => unknown = (error) => error.message): string {
  try {
    return String(thrown instanceof Error ? said(thrown) : thrown)
  } catch {
    return `a thrown ${typeof thrown} that has no text`
  }
}

function named(Class: { prototype: Error }, name: string): void {
  Object.defineProperty(Class.prototype, 'name', { value: name, writable: true, configurable: true })
}

/** True for an error of harrow, also of another copy of harrow in the same process. */
export function isHarrowError(value: unknown): value is HarrowError {
  return typeof value === 'object' && value !== null && BRAND in value
}
