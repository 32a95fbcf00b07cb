import type { RawFrame } from './facts.ts'

const { captureStackTrace } = Error

/** Frames that are looked at for one promise; enough to get from `fs` or an assertion library to the user's line. */
const MOST_FRAMES = 12

const MICROTASK_QUEUE = 'node:internal/process/task_queues'

/** One frame as V8 has it at the birth of a promise. */
export interface SiteFrame extends RawFrame {
  /** Not on the stack: an async function that will go on when the one above it is done. */
  async: boolean
  /** Start of the function's text, `url:line:column`, the same for every call of it; '' below the innermost frame. */
  body: string
}

/**
 * The call sites above `below`, innermost first. Builtins (`new Promise`, `Promise.then`) are there, without a
 * position. `Error.prepareStackTrace` and `Error.stackTraceLimit` are as before afterwards; an empty list where they
 * cannot be set.
 */
export function readSites(below: (...args: never[]) => unknown): SiteFrame[] {
  const holder: { stack?: unknown } = {}
  // Plain assignments to properties that exist are ten times faster than descriptors, and enough where nobody froze them.
  const had = Object.hasOwn(Error, 'prepareStackTrace')
  const prepare = Error.prepareStackTrace
  const limit = Error.stackTraceLimit
  let sites: NodeJS.CallSite[] = []
  try {
    Error.prepareStackTrace = (_error, trace) => {
      sites = trace
    }
    Error.stackTraceLimit = MOST_FRAMES
    captureStackTrace(holder, below)
    // The trace is made when it is first read.
    void holder.stack
  } catch {
    // Error is frozen.
  } finally {
    try {
      Error.stackTraceLimit = limit
      if (had) Error.prepareStackTrace = prepare
      else Reflect.deleteProperty(Error, 'prepareStackTrace')
    } catch {
      // As above.
    }
  }
  // Only plain values leave: a call site holds on to the receiver, and with it to what should be collected.
  const frames = sites.map(toFrame)
  // Below the queue of microtasks lies whatever happened to run it, which called nothing of what is above.
  const queue = frames.findIndex(({ at }) => at?.url === MICROTASK_QUEUE)
  return queue === -1 ? frames : frames.filter(({ async }, index) => index < queue || async)
}

/** In V8's CallSite since 9.0, missing in the type. */
interface Enclosing {
  getEnclosingLineNumber?(): number | null
  getEnclosingColumnNumber?(): number | null
}

function toFrame(site: NodeJS.CallSite & Enclosing, index: number): SiteFrame {
  const url = site.getFileName() ?? ''
  const line = site.getLineNumber()
  return {
    fn: site.getFunctionName() ?? '',
    at: url !== '' && line !== null ? { url, line, column: site.getColumnNumber() ?? 1 } : null,
    async: site.isAsync(),
    body: index === 0 ? `${url}:${site.getEnclosingLineNumber?.()}:${site.getEnclosingColumnNumber?.()}` : '',
  }
}
