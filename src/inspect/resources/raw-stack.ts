import { restore, toFrame } from '../call-sites.ts'
import type { RawFrame } from '../facts.ts'

// Clean copies: user code may replace any of these later.
const { captureStackTrace } = Error
const ErrorClass = Error
const define = Object.defineProperty
const describe = Object.getOwnPropertyDescriptor

/** Frames that are kept of a creation; deep enough to get through a framework to the test. */
const MOST_FRAMES = 24

/**
 * A call stack that is kept raw, as V8 captured it, and turned into frames when somebody asks: at creation it costs 5 us
 * instead of 20. While it is raw it holds the functions and receivers on the stack alive, so it must be asked soon.
 */
export class RawStack {
  #holder: { stack?: unknown } | null = {}
  #frames: RawFrame[] = []

  /**
   * @param below frames above and including this function are left out
   * @param most so many frames are kept
   */
  constructor(below: (...args: never[]) => unknown, most = MOST_FRAMES) {
    const limit = describe(ErrorClass, 'stackTraceLimit')
    const plain = limit?.writable === true && ErrorClass.stackTraceLimit === limit.value
    try {
      if (plain) ErrorClass.stackTraceLimit = most
      else define(ErrorClass, 'stackTraceLimit', { value: most, configurable: true, writable: true })
      captureStackTrace(this.#holder as object, below)
    } catch {
      // Error is frozen (SES and the like): no frames.
    } finally {
      if (plain) ErrorClass.stackTraceLimit = limit.value as number
      else restore('stackTraceLimit', limit)
    }
  }

  /** The frames, innermost first; the raw stack is let go. Deaf to a `prepareStackTrace` of the user's. */
  frames(): RawFrame[] {
    const holder = this.#holder
    if (holder === null) return this.#frames
    this.#holder = null
    const before = describe(ErrorClass, 'prepareStackTrace')
    let sites: NodeJS.CallSite[] = []
    const take = (_: unknown, trace: NodeJS.CallSite[]): string => {
      sites = trace
      return ''
    }
    try {
      define(ErrorClass, 'prepareStackTrace', { value: take, configurable: true, writable: true })
      void holder.stack
      this.#frames = sites.map(toFrame)
    } catch {
      // As above.
    } finally {
      restore('prepareStackTrace', before)
    }
    return this.#frames
  }
}
