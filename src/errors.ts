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

/** True for an error of harrow, also of another copy of harrow in the same process. */
export function isHarrowError(value: unknown): value is HarrowError {
  return typeof value === 'object' && value !== null && BRAND in value
}
