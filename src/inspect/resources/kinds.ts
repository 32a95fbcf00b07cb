/**
 * How to look at one kind of handle: is it open, does it hold the process, what is it in words. The fields of Node's
 * own objects that are read here are the same in Node 22, 24 and 26; each look is made under a `try` of the caller's, since
 * a user may have put a getter that throws in the way.
 */
import type { ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import type { Server, Socket } from 'node:net'
import { monotonic } from '../../process/clean.ts'

/** `idle`: not open now, but may be (again): a port without a listener, a server that looks up its host. */
export type Phase = 'open' | 'idle' | 'closed'

/** What a record keeps beside the object itself. */
export interface Note {
  /** Words from the arguments of the creating call: a path, a file. */
  detail: string
  /** Further objects that are open as long as this handle is, e.g. the watchers of a recursive watcher. */
  parts?: WeakRef<object>[]
}

export interface HandleKind {
  /** Name of the kind, see `LiveHandle.kind`. */
  name(thing: object): string
  phase(thing: object, note: Note): Phase
  /** Does it keep the process alive? */
  ref(thing: object, note: Note): boolean
  what(thing: object, note: Note): string
  pid?(thing: object): number | undefined
  threadId?(thing: object): number
  /** A leak although it does not keep the process alive. */
  counts?: boolean
  /** `idle` before it opens, and closed when it is `idle` afterwards. */
  opensLate?: boolean
  /** Nobody but the record holds the object. */
  own?: boolean
}

interface Refable {
  hasRef?(): boolean
}

const fstatSync = fs.fstatSync
/** Of a timer, in Node. */
const LONGEST_MS = 2 ** 31 - 1
/** TLS within TLS within a socket. */
const MOST_LAYERS = 4
const symbols = new Map<string, symbol>()

/** Value under a symbol of Node's own, which is found by its description. */
function hidden(thing: object, description: string): unknown {
  const known = symbols.get(description)
  if (known !== undefined && known in thing) return (thing as Record<symbol, unknown>)[known]
  for (const symbol of Object.getOwnPropertySymbols(thing)) {
    if (symbol.description !== description) continue
    symbols.set(description, symbol)
    return (thing as Record<symbol, unknown>)[symbol]
  }
  return undefined
}

/** `hasRef()` of a handle of libuv, for TLS that of the socket below; what has none counts as holding. */
function refOf(handle: unknown, depth = 0): boolean {
  if (handle === null || handle === undefined) return false
  const { hasRef, _parent } = handle as Refable & { _parent?: unknown }
  if (typeof hasRef === 'function') return hasRef.call(handle)
  return _parent && depth < MOST_LAYERS ? refOf(_parent, depth + 1) : true
}

function handleOf(thing: object): unknown {
  return (thing as { _handle?: unknown })._handle
}

interface TimerFields {
  _destroyed?: boolean
  _idleTimeout?: number
  _repeat?: number | null
  hasRef(): boolean
}

const isInterval = (timer: object): boolean => typeof (timer as TimerFields)._repeat === 'number'

export const timerKind: HandleKind = {
  name: (timer) => (isInterval(timer) ? 'Interval' : 'Timeout'),
  phase: (timer) => ((timer as TimerFields)._destroyed ? 'closed' : 'open'),
  ref: (timer) => (timer as TimerFields).hasRef(),
  what: (timer) => {
    const { _idleTimeout: ms } = timer as TimerFields
    return typeof ms === 'number' ? `${isInterval(timer) ? 'every' : 'in'} ${ms} ms` : ''
  },
}

/** An async iterator that is open from its first value until its loop is left. */
export class AsyncValues {
  readonly ref: boolean
  readonly signal: AbortSignal | undefined
  ended = false

  constructor(ref: boolean, signal: AbortSignal | undefined) {
    this.ref = ref
    this.signal = signal
  }
}

/** Values of `setInterval` of `timers/promises`, whose timer is Node's own. */
export class IntervalValues extends AsyncValues {
  readonly ms: unknown

  constructor(ms: unknown, ref: boolean, signal: AbortSignal | undefined) {
    super(ref, signal)
    this.ms = ms
  }
}

const valuesKind = (name: string, what: HandleKind['what']): HandleKind => ({
  name: () => name,
  phase: (thing) => {
    const { ended, signal } = thing as AsyncValues
    return ended || signal?.aborted ? 'closed' : 'open'
  },
  ref: (thing) => (thing as AsyncValues).ref,
  what: (thing, note) => `${what(thing, note)}, until its loop is left or its signal aborted`,
  own: true,
})

export const intervalValuesKind = valuesKind('Interval', (thing) => `every ${(thing as IntervalValues).ms ?? 1} ms`)
/** Of `fs.promises.watch`. */
export const watchValuesKind = valuesKind('FSWatcher', (_, { detail }) => detail)

/** `setTimeout` of `timers/promises`, whose timer nobody sees; that it is over is known by the clock. */
export class PromisedTimeout {
  readonly ms: number
  readonly ref: boolean
  readonly signal: AbortSignal | undefined
  readonly due: number

  constructor(ms: unknown, ref: boolean, signal: AbortSignal | undefined) {
    // What is none is 1 for Node.
    this.ms = typeof ms === 'number' && ms >= 1 && ms <= LONGEST_MS ? ms : 1
    this.ref = ref
    this.signal = signal
    this.due = monotonic() + this.ms
  }
}

export const promisedTimeoutKind: HandleKind = {
  name: () => 'Timeout',
  phase: (thing) => {
    const { due, signal } = thing as PromisedTimeout
    return signal?.aborted || monotonic() >= due ? 'closed' : 'open'
  },
  ref: (thing) => (thing as PromisedTimeout).ref,
  what: (thing) => `in ${(thing as PromisedTimeout).ms} ms, unless its signal is aborted`,
  own: true,
}

/** `127.0.0.1:80`, `[::1]:80`. */
function hostAndPort(host: string | undefined, port: number | undefined): string {
  if (port === undefined) return ''
  return host?.includes(':') ? `[${host}]:${port}` : `${host ?? ''}:${port}`
}

export const serverKind: HandleKind = {
  name: (server) => (typeof (server as Server).address() === 'string' ? 'UnixServer' : 'Server'),
  // Before it listens, Node may have to look up the host.
  opensLate: true,
  phase: (server) => ((server as Server).listening ? 'open' : 'idle'),
  ref: (server) => refOf(handleOf(server)),
  what: (server) => {
    const address = (server as Server).address()
    if (address === null || typeof address === 'string') return address ?? ''
    return hostAndPort(address.address, address.port)
  },
}

const isPath = (note: Note): boolean => note.detail !== ''

export const socketKind: HandleKind = {
  name: () => 'Socket',
  phase: (socket) => ((socket as Socket).destroyed || (handleOf(socket) ?? null) === null ? 'closed' : 'open'),
  ref: (socket) => refOf(handleOf(socket)),
  what: (socket, note) => {
    if (isPath(note)) return note.detail
    const { remoteAddress, remotePort } = socket as Socket
    if (remotePort !== undefined) return hostAndPort(remoteAddress, remotePort)
    return (socket as Socket).connecting ? 'connecting' : ''
  },
}

/** A socket at a path; `detail` is that path. */
export const unixSocketKind: HandleKind = { ...socketKind, name: () => 'UnixSocket' }

interface UdpState {
  handle?: unknown
}

export const udpKind: HandleKind = {
  name: () => 'UdpSocket',
  phase: (socket) => ((hidden(socket, 'state symbol') as UdpState | undefined)?.handle ? 'open' : 'closed'),
  ref: (socket) => refOf((hidden(socket, 'state symbol') as UdpState | undefined)?.handle),
  what: (socket) => {
    const { address, port } = (socket as { address(): { address: string; port: number } }).address()
    return hostAndPort(address, port)
  },
}

/** Whatever has a `_handle` that is null after closing: `FSWatcher`, `StatWatcher`. */
function watcherKind(name: string): HandleKind {
  const watchers = (thing: object, note: Note): object[] => {
    const parts = (note.parts ?? []).map((part) => part.deref()).filter((part) => part !== undefined)
    return [thing, ...parts].filter((part) => (handleOf(part) ?? null) !== null)
  }
  return {
    name: () => name,
    phase: (thing, note) => (watchers(thing, note).length > 0 ? 'open' : 'closed'),
    ref: (thing, note) => watchers(thing, note).some((part) => refOf(handleOf(part))),
    what: (_, note) => note.detail,
  }
}

export const watchKind = watcherKind('FSWatcher')
export const statWatchKind = watcherKind('StatWatcher')

export const workerKind: HandleKind = {
  name: () => 'Worker',
  phase: (worker) => ((worker as { threadId: number }).threadId > 0 ? 'open' : 'closed'),
  ref: (worker) => refOf(hidden(worker, 'kHandle') ?? {}),
  what: (_, note) => note.detail,
  threadId: (worker) => (worker as { threadId: number }).threadId,
}

export const portKind: HandleKind = {
  name: () => 'MessagePort',
  // A port does not tell whether it is closed; one that holds nothing harms nobody.
  phase: (port) => ((port as Refable).hasRef?.() ? 'open' : 'idle'),
  ref: () => true,
  what: () => '',
}

export const channelKind: HandleKind = {
  name: () => 'BroadcastChannel',
  phase: (channel) => (hidden(channel, 'kHandle') ? 'open' : 'closed'),
  ref: (channel) => refOf(hidden(channel, 'kHandle')),
  what: (_, note) => note.detail,
}

const STREAMS = ['stdin', 'stdout', 'stderr']

/** Pipes of a child that are open; they stay when a grandchild has inherited the other end. */
function pipesOf(child: ChildProcess): { name: string; pipe: object }[] {
  return (child.stdio ?? []).flatMap((stream, index) =>
    stream && !stream.destroyed && handleOf(stream) ? [{ name: STREAMS[index] ?? `fd ${index}`, pipe: stream }] : [],
  )
}

const runs = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null

export const childKind: HandleKind = {
  name: (child) => (runs(child as ChildProcess) ? 'ChildProcess' : 'Pipe'),
  phase: (thing) => {
    const child = thing as ChildProcess
    // Without a pid it could not be started; its pipes go by themselves.
    return child.pid !== undefined && (runs(child) || pipesOf(child).length > 0) ? 'open' : 'closed'
  },
  ref: (child) => refOf(handleOf(child)) || pipesOf(child as ChildProcess).some(({ pipe }) => refOf(handleOf(pipe))),
  what: (thing, note) => {
    const child = thing as ChildProcess
    const words = `${child.pid} \`${note.detail}\``
    if (runs(child)) return words
    const names = pipesOf(child).map(({ name }) => name)
    return `${names.join(' and ')} of ${words}, which has ended`
  },
  pid: (child) => (child as ChildProcess).pid,
}

export const fileHandleKind: HandleKind = {
  name: () => 'FileHandle',
  phase: (handle) => ((handle as { fd: number }).fd >= 0 ? 'open' : 'closed'),
  ref: () => false,
  what: (_, note) => note.detail,
  counts: true,
}

/** A number that `fs.open` or `fs.openSync` gave out. */
export class OpenDescriptor {
  readonly fd: number
  closed = false

  constructor(fd: number) {
    this.fd = fd
  }
}

export const descriptorKind: HandleKind = {
  name: () => 'Descriptor',
  phase: (thing) => {
    const descriptor = thing as OpenDescriptor
    if (!descriptor.closed && !isOpen(descriptor.fd)) descriptor.closed = true
    return descriptor.closed ? 'closed' : 'open'
  },
  ref: () => false,
  what: (thing, note) => `fd ${(thing as OpenDescriptor).fd} (${note.detail})`,
  counts: true,
  own: true,
}

/** Addons close descriptors behind our back. */
function isOpen(fd: number): boolean {
  try {
    fstatSync(fd)
    return true
  } catch {
    return false
  }
}
