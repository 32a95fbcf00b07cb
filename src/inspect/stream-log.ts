/**
 * Remembers the streams of this thread for a re-run: streams that deadlock among themselves are garbage, and a heap
 * snapshot does not show them. Wraps the listeners and `destroy()` of Node's streams; some 20 us a call.
 */
import { EventEmitter } from 'node:events'
import { Readable, Writable } from 'node:stream'
import { readCallSites } from './call-sites.ts'
import type { RawFrame } from './facts.ts'
import { readStream } from './stream-state.ts'
import type { StreamFact, StreamNote } from './wait-facts.ts'

export interface StreamLog {
  /**
   * Looks at every stream that is still there, and lets go of it: from now on it can be collected. What was seen stays
   * known.
   */
  look(): void
  /** Streams that are not through, in the order in which they were first used. */
  notes(): StreamNote[]
  /** Puts the original methods back. */
  close(): void
}

interface Entry {
  stream: WeakRef<object>
  /** Until the next look. */
  strong: object | null
  fact: StreamFact | undefined
  listens: StreamNote['listens']
  destroyed: RawFrame[]
}

type Callable = (this: unknown, ...args: unknown[]) => unknown

const MOST_STREAMS = 300
const MOST_LISTENS = 24
const MOST_NOTES = 30
const MOST_FRAMES = 16
const LISTEN = ['on', 'addListener', 'once', 'prependListener', 'prependOnceListener'] as const
/** What streams listen to on each other and what users wait for; others say nothing about why a stream stands still. */
const EVENTS = new Set(['drain', 'finish', 'end', 'close', 'readable', 'data', 'unpipe'])
const apply = Reflect.apply
/** Of a web stream only the calls are known. */
const GONE: WeakRef<object> = new WeakRef(Object.create(null) as object)

/** Starts to remember. */
export function startStreamLog(): StreamLog {
  const known = new WeakMap<object, Entry>()
  const entries: Entry[] = []
  const undo: (() => void)[] = []
  let inside = false

  const entryOf = (stream: object): Entry | undefined => {
    const before = known.get(stream)
    if (before !== undefined || entries.length >= MOST_STREAMS) return before
    const entry: Entry = { stream: new WeakRef(stream), strong: stream, fact: undefined, listens: [], destroyed: [] }
    known.set(stream, entry)
    entries.push(entry)
    return entry
  }
  const watch = (
    owner: object,
    name: string,
    note: (stream: object, args: unknown[], frames: Callable) => void,
  ): void => {
    const property = Object.getOwnPropertyDescriptor(owner, name)
    const original: unknown = property?.value
    if (!property?.configurable || typeof original !== 'function') return
    const holder = {
      wrapper(this: unknown, ...args: unknown[]): unknown {
        // `once` calls `on`: the outermost call is the one that says who listens.
        const outermost = !inside
        inside = true
        try {
          if (outermost && isStream(this)) note(this, args, holder.wrapper)
        } catch {
          // A note must not cost the call.
        }
        try {
          return apply(original as Callable, this, args)
        } finally {
          if (outermost) inside = false
        }
      },
    }
    Object.defineProperty(owner, name, { ...property, value: holder.wrapper })
    undo.push(() => {
      if (Object.getOwnPropertyDescriptor(owner, name)?.value === holder.wrapper)
        Object.defineProperty(owner, name, property)
    })
  }

  for (const owner of [EventEmitter.prototype, Readable.prototype]) {
    for (const name of LISTEN) {
      watch(owner, name, (stream, [event], wrapper) => {
        if (typeof event !== 'string' || !EVENTS.has(event)) return
        const entry = entryOf(stream)
        if (entry === undefined || entry.listens.length >= MOST_LISTENS) return
        entry.listens.push({ event, frames: readCallSites(MOST_FRAMES, wrapper) })
      })
    }
  }
  for (const owner of [Readable.prototype, Writable.prototype]) {
    watch(owner, 'destroy', (stream, _, wrapper) => {
      const entry = entryOf(stream)
      if (entry?.destroyed.length === 0) entry.destroyed = readCallSites(MOST_FRAMES, wrapper)
    })
  }
  const web = (owner: { prototype: object; name: string }, name: string): void => {
    const property = Object.getOwnPropertyDescriptor(owner.prototype, name)
    const original: unknown = property?.value ?? property?.get
    if (!property?.configurable || typeof original !== 'function') return
    const fact: StreamFact = { name: owner.name, destroyed: false, closed: false, errored: false, web: true }
    const holder = {
      wrapper(this: unknown, ...args: unknown[]): unknown {
        if (entries.length < MOST_STREAMS && !inside) {
          const listens = [{ event: name, frames: readCallSites(MOST_FRAMES, holder.wrapper) }]
          entries.push({ stream: GONE, strong: null, fact, listens, destroyed: [] })
        }
        return apply(original as Callable, this, args)
      },
    }
    const value = property.get ? { get: holder.wrapper } : { value: holder.wrapper }
    Object.defineProperty(owner.prototype, name, { ...property, ...value })
    undo.push(() => Object.defineProperty(owner.prototype, name, property))
  }
  for (const name of ['write', 'ready', 'close']) web(WritableStreamDefaultWriter, name)
  for (const owner of [ReadableStreamDefaultReader, ReadableStreamBYOBReader]) web(owner, 'read')
  web(ReadableStream, 'pipeTo')

  return {
    look() {
      for (const entry of entries) {
        const stream = entry.stream.deref()
        if (stream !== undefined) entry.fact = readStream(stream) ?? entry.fact
        entry.strong = null
      }
    },
    notes() {
      return entries
        .flatMap(({ fact, listens, destroyed }) =>
          fact && listens.length > 0 ? [{ stream: fact, listens, destroyed }] : [],
        )
        .filter(({ stream, destroyed }) => !stream.closed || destroyed.length > 0)
        .slice(0, MOST_NOTES)
    },
    close() {
      for (const restore of undo.splice(0)) restore()
    },
  }
}

function isStream(value: unknown): value is object {
  return typeof value === 'object' && value !== null && ('_readableState' in value || '_writableState' in value)
}
