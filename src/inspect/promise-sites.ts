import type { RawFrame } from './facts.ts'

const { captureStackTrace } = Error
const { defineProperty, getOwnPropertyDescriptor } = Object

/** Frames that are looked at for one promise; enough to get from `fs` or an assertion library to the user's line. */
const MOST_FRAMES = 12

const MICROTASK_QUEUE = 'node:internal/process/task_queues'

/** One frame as V8 has it at the birth of a promise. */
export interface SiteFrame extends RawFrame {
  /** Not on the stack: an async function that will go on when the one above it is done. */
  async: boolean
  /** Start of the function's text, `url:line:column`: the same for every call of the same function. */
  body: string
}

/**
 * The call sites above `below`, innermost first. Builtins (`new Promise`, `Promise.then`) are there, without a
 * position. `Error.prepareStackTrace` and `Error.stackTraceLimit` are as before afterwards; an empty list where they
 * cannot be set.
 */
export function readSites(below: (...args: never[]) => unknown): SiteFrame[] {
  const prepare = getOwnPropertyDescriptor(Error, 'prepareStackTrace')
  const limit = getOwnPropertyDescriptor(Error, 'stackTraceLimit')
  const holder: { stack?: unknown } = {}
  let sites: NodeJS.CallSite[] = []
  try {
    defineProperty(Error, 'prepareStackTrace', {
      configurable: true,
      writable: true,
      value(_error: unknown, trace: NodeJS.CallSite[]) {
        sites = trace
        return ''
      },
    })
    defineProperty(Error, 'stackTraceLimit', {
      configurable: true,
      enumerable: true,
      writable: true,
      value: MOST_FRAMES,
    })
    captureStackTrace(holder, below)
    // The trace is made when it is first read.
    void holder.stack
  } catch {
    // Error is frozen.
  } finally {
    putBack('prepareStackTrace', prepare)
    putBack('stackTraceLimit', limit)
  }
  // Only plain values leave: a call site holds on to the receiver, and with it to what should be collected.
  const frames = sites.map(toFrame)
  // Below the queue of microtasks lies whatever happened to run it, which called nothing of what is above.
  const queue = frames.findIndex(({ at }) => at?.url === MICROTASK_QUEUE)
  return queue === -1 ? frames : frames.filter(({ async }, index) => index < queue || async)
}

function putBack(name: string, before: PropertyDescriptor | undefined): void {
  try {
    if (before === undefined) Reflect.deleteProperty(Error, name)
    else defineProperty(Error, name, before)
  } catch {
    // As above.
  }
}

/** In V8's CallSite since 9.0, missing in the type. */
interface Enclosing {
  getEnclosingLineNumber?(): number | null
  getEnclosingColumnNumber?(): number | null
}

function toFrame(site: NodeJS.CallSite & Enclosing): SiteFrame {
  const url = site.getFileName() ?? ''
  const line = site.getLineNumber()
  return {
    fn: site.getFunctionName() ?? '',
    at: url !== '' && line !== null ? { url, line, column: site.getColumnNumber() ?? 1 } : null,
    async: site.isAsync(),
    body: `${url}:${site.getEnclosingLineNumber?.()}:${site.getEnclosingColumnNumber?.()}`,
  }
}
