/**
 * Notes calls whose effect shows up elsewhere and without a trace of the caller: signals that are sent, and `fetch`, whose
 * sockets undici makes later. About 15 us a call. The wrappers behave like the functions that they wrap.
 */
import { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import { readCallSites } from './call-sites.ts'
import type { FetchSite, SentSignal } from './wait-facts.ts'

type Callable = (this: unknown, ...args: unknown[]) => unknown

const MOST_FRAMES = 12
/** Older notes are forgotten: what was asked for long ago explains no hang. */
const MOST_NOTES = 100

const apply = Reflect.apply
const clock = (): number => performance.timeOrigin + performance.now()

/** Notes that are being taken. */
export interface CallNotes {
  /** Signals that were sent, oldest first; signal 0, which only asks, is none. */
  signals(): SentSignal[]
  /** Calls of the global `fetch`, oldest first. */
  fetches(): FetchSite[]
  /** Puts the original functions back, except where somebody else has replaced them since. */
  close(): void
}

/** Wraps `process.kill`, `ChildProcess#kill` and the global `fetch` of this thread. */
export function noteCalls(): CallNotes {
  const signals: SentSignal[] = []
  const fetches: FetchSite[] = []
  const undo = [
    wrap(process, 'kill', ([pid, signal], result, wrapper) => {
      if (result === true && typeof pid === 'number') noteSignal(signals, pid, signal, wrapper)
    }),
    wrap(ChildProcess.prototype, 'kill', ([signal], result, wrapper, self) => {
      const pid = (self as ChildProcess).pid
      if (result === true && typeof pid === 'number') noteSignal(signals, pid, signal, wrapper)
    }),
    wrap(globalThis, 'fetch', ([input], _, wrapper) => {
      push(fetches, { port: portOf(input), at: clock(), frames: readCallSites(MOST_FRAMES, wrapper) })
    }),
  ]
  return {
    signals: () => [...signals],
    fetches: () => [...fetches],
    close() {
      for (const restore of undo.splice(0)) restore()
    },
  }
}

function push<T>(list: T[], note: T): void {
  list.push(note)
  if (list.length > MOST_NOTES) list.shift()
}

function noteSignal(list: SentSignal[], pid: number, given: unknown, wrapper: Callable): void {
  const signal = signalName(given)
  if (signal === undefined) return
  push(list, { pid, signal, at: clock(), frames: readCallSites(MOST_FRAMES, wrapper) })
}

const NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number as number, name]))

/** Undefined for signal 0. Node takes no signal for SIGTERM. */
function signalName(given: unknown): string | undefined {
  if (typeof given === 'string') return given.toUpperCase()
  if (typeof given === 'number') return given === 0 ? undefined : (NAMES.get(given) ?? `signal ${given}`)
  return 'SIGTERM'
}

/** Nothing but what a string or a URL says: a `Request` of the user's may be anything. */
function portOf(input: unknown): number | null {
  try {
    const text =
      typeof input === 'string' ? input : input instanceof URL || input instanceof Request ? urlOf(input) : ''
    const { protocol, port } = new URL(text)
    return port === '' ? (protocol === 'https:' ? 443 : protocol === 'http:' ? 80 : null) : Number(port)
  } catch {
    return null
  }
}

const urlOf = (input: URL | Request): string => (input instanceof URL ? input.href : input.url)

/** @param note called when the original has returned; what it throws is swallowed */
function wrap(
  owner: object,
  name: string,
  note: (args: unknown[], result: unknown, wrapper: Callable, self: unknown) => void,
): () => void {
  const property = Object.getOwnPropertyDescriptor(owner, name)
  const original: unknown = property?.value
  if (!property?.configurable || typeof original !== 'function') return () => {}
  // A method, as most built-in functions cannot be called with `new` either.
  const holder = {
    wrapper(this: unknown, ...args: unknown[]): unknown {
      const result = apply(original as Callable, this, args)
      try {
        note(args, result, holder.wrapper, this)
      } catch {
        // The call must not fail because of the note.
      }
      return result
    },
  }
  Object.setPrototypeOf(holder.wrapper, Object.getPrototypeOf(original))
  Object.defineProperties(holder.wrapper, Object.getOwnPropertyDescriptors(original))
  Object.defineProperty(owner, name, { ...property, value: holder.wrapper })
  return () => {
    if (Object.getOwnPropertyDescriptor(owner, name)?.value === holder.wrapper)
      Object.defineProperty(owner, name, property)
  }
}
