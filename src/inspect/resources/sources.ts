/** Where handles come from: the functions of Node that make them, each told apart into its kind. */
import childProcess from 'node:child_process'
import dgram from 'node:dgram'
import diagnostics from 'node:diagnostics_channel'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'
import timers from 'node:timers'
import timersPromises from 'node:timers/promises'
import workerThreads from 'node:worker_threads'
import { monotonic } from '../../process/clean.ts'
import { isLoaded } from '../loaded.ts'
import {
  AsyncValues,
  channelKind,
  childKind,
  descriptorKind,
  fileHandleKind,
  type HandleKind,
  IntervalValues,
  intervalValuesKind,
  type Note,
  OpenDescriptor,
  PromisedTimeout,
  portKind,
  promisedTimeoutKind,
  serverKind,
  socketKind,
  statWatchKind,
  timerKind,
  udpKind,
  unixSocketKind,
  watchKind,
  watchValuesKind,
  workerKind,
} from './kinds.ts'
import type { Callable, Patches } from './patches.ts'
import { RawStack } from './raw-stack.ts'

/** Told of each new handle. */
export interface HandleSink {
  /** @param stack where it was made; null when that is not known */
  made(kind: HandleKind, thing: object, note: Note, stack: RawStack | null): void
  /** A server in this thread accepted a connection. */
  accepted(socket: net.Socket): void
  /** Whose is what is made now? */
  scope(): unknown
  /** A connection that was known is used again: whoever leaves it open now did so, not who made it. */
  reused(socket: object, scope: unknown, stack: RawStack): void
}

const LONGEST_DETAIL = 200
/** There are 24 frames of undici's between `fetch` and its socket. */
const MOST_SOCKET_FRAMES = 64
const require = createRequire(import.meta.url)
// An environment such as jsdom has one of its own, which Node's timers do not take.
const NodeAbortSignal = AbortSignal
const NO_DETAIL: Note = { detail: '' }
const MOST_STACKS = 1000
const BUDGET_MS = 100

/** Text of an argument without running any code of the user's. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, LONGEST_DETAIL)
  if (Buffer.isBuffer(value)) return value.subarray(0, LONGEST_DETAIL).toString()
  if (!(value instanceof URL)) return ''
  // URL's getters read private fields; a `data:` URL can be megabytes.
  if (value.protocol === 'file:') return decodeURIComponent(value.pathname).slice(0, LONGEST_DETAIL)
  return value.protocol === 'data:' ? 'data: URL' : value.href.slice(0, LONGEST_DETAIL)
}

/** Value of a plain property of the user's options; a getter is not run. */
function plainProperty(options: unknown, name: string): unknown {
  if (typeof options !== 'object' || options === null) return undefined
  return Object.getOwnPropertyDescriptor(options, name)?.value
}

/**
 * Wraps the functions that make handles. Nothing here may throw into the user's call, or change what it gives back.
 *
 * @returns stops listening to Node's diagnostics; the wrappers are undone by `patches`
 */
export function installSources(patches: Patches, sink: HandleSink): () => void {
  timerSources(patches, sink)
  netSources(patches, sink)
  processSources(patches, sink)
  fileSources(patches, sink)
  channelSources(patches, sink)
  const accepted = (message: unknown): void => {
    const socket = plainProperty(message, 'socket')
    if (socket instanceof net.Socket) sink.accepted(socket)
  }
  diagnostics.subscribe('net.server.socket', accepted)
  const unsubscribe = fetchSources(sink)
  patches.publish()
  return () => {
    diagnostics.unsubscribe('net.server.socket', accepted)
    unsubscribe()
  }
}

/** What is made in bursts has the user's line near: a stack of 12 frames costs two thirds of one of 24. */
const MOST_BURST_FRAMES = 12

/**
 * Stacks for what may be made in a burst: at most 1000 in 100 ms, so that code which makes timers by the ten thousand is
 * slowed down by a few percent at most. Those above are recorded without a stack.
 */
class StackBudget {
  #until = 0
  #left = 0

  take(below: Callable): RawStack | null {
    if (this.#left === 0) {
      const now = monotonic()
      if (now < this.#until) return null
      this.#until = now + BUDGET_MS
      this.#left = MOST_STACKS
    }
    this.#left--
    return new RawStack(below, MOST_BURST_FRAMES)
  }
}

function timerSources(patches: Patches, sink: HandleSink): void {
  const budget = new StackBudget()
  for (const name of ['setTimeout', 'setInterval']) {
    patches.wrap([globalThis, timers], name, (original, self, args, wrapper) => {
      const timer = Reflect.apply(original, self, args)
      if (typeof timer === 'object' && timer !== null) sink.made(timerKind, timer, NO_DETAIL, budget.take(wrapper))
      return timer
    })
  }
  patches.wrap([timersPromises], 'setTimeout', (original, self, args, wrapper) => {
    const promise = Reflect.apply(original, self, args)
    const timeout = new PromisedTimeout(args[0], ...optionsOf(args[2]))
    sink.made(promisedTimeoutKind, timeout, NO_DETAIL, budget.take(wrapper))
    return promise
  })
  intervalSources(patches, sink, budget)
}

/** Of a function that gives a promise or an async iterator. */
function optionsOf(options: unknown): [ref: boolean, signal: AbortSignal | undefined] {
  const signal = plainProperty(options, 'signal')
  return [plainProperty(options, 'ref') !== false, signal instanceof NodeAbortSignal ? signal : undefined]
}

/**
 * The timer begins with the first value that is asked for, and ends with the generator or with the signal. Nobody holds the
 * generator while its reader is busy, so it is watched by its own methods and not by being there.
 */
function intervalSources(patches: Patches, sink: HandleSink, budget: StackBudget): void {
  patches.wrap([timersPromises], 'setInterval', (original, self, args, wrapper) => {
    const values = Reflect.apply(original, self, args)
    if (typeof values !== 'object' || values === null) return values
    const interval = new IntervalValues(args[0], ...optionsOf(args[2]))
    const stack = budget.take(wrapper)
    watchValues(values, interval, () => sink.made(intervalValuesKind, interval, NO_DETAIL, stack))
    return values
  })
}

/** @param begun called when the first value is asked for */
function watchValues(values: object, state: AsyncValues, begun: () => void): void {
  let isBegun = false
  const watch = (name: string, then: () => void): void => {
    const method = (values as Record<string, unknown>)[name]
    if (typeof method !== 'function') return
    const value = (...given: unknown[]): unknown => {
      then()
      return Reflect.apply(method, values, given)
    }
    Object.defineProperty(values, name, { value, configurable: true, writable: true })
  }
  const end = (): void => {
    state.ended = true
  }
  watch('next', () => {
    if (!isBegun && !state.ended) begun()
    isBegun = true
  })
  watch('return', end)
  watch('throw', end)
}

function netSources(patches: Patches, sink: HandleSink): void {
  patches.wrap([net.Server.prototype], 'listen', (original, self, args, wrapper) => {
    const result = Reflect.apply(original, self, args)
    sink.made(serverKind, self as object, NO_DETAIL, new RawStack(wrapper))
    return result
  })
  let pooled = false
  patches.wrap([net.Socket.prototype], 'connect', (original, self, args, wrapper) => {
    const result = Reflect.apply(original, self, args)
    const path = pathOf(args)
    const stack = new RawStack(wrapper, MOST_SOCKET_FRAMES)
    sink.made(path === '' ? socketKind : unixSocketKind, self as object, { detail: path }, stack)
    // `node:http` takes 10 ms to load, which a program without it need not pay.
    if (!pooled && isLoaded('_http_agent')) {
      pooled = true
      agentSources(patches, sink)
    }
    return result
  })
  patches.wrap([dgram.Socket.prototype], 'bind', (original, self, args, wrapper) => {
    const result = Reflect.apply(original, self, args)
    sink.made(udpKind, self as object, NO_DETAIL, new RawStack(wrapper))
    return result
  })
}

/** Connections that an `http.Agent` keeps for the next request; it calls this below the request's constructor. */
function agentSources(patches: Patches, sink: HandleSink): void {
  const { Agent } = require('node:http') as typeof import('node:http')
  patches.wrap([Agent.prototype], 'reuseSocket', (original, self, args, wrapper) => {
    if (typeof args[0] === 'object' && args[0] !== null)
      sink.reused(args[0], sink.scope(), new RawStack(wrapper, MOST_SOCKET_FRAMES))
    return Reflect.apply(original, self, args)
  })
}

/**
 * Connections of `fetch` (undici): a request is made below the user's call, and gets a connection then or later. Both
 * channels are documented, and the same in an undici of the user's own.
 */
function fetchSources(sink: HandleSink): () => void {
  const requests = new WeakMap<object, { scope: unknown; stack: RawStack }>()
  const created = (message: unknown): void => {
    const request = plainProperty(message, 'request')
    if (typeof request !== 'object' || request === null) return
    const stack = new RawStack(created, MOST_SOCKET_FRAMES)
    // A request can wait for long, and must not keep what called it.
    stack.frames()
    requests.set(request, { scope: sink.scope(), stack })
  }
  const sent = (message: unknown): void => {
    const socket = plainProperty(message, 'socket')
    const made = requests.get(plainProperty(message, 'request') as object)
    if (made && typeof socket === 'object' && socket !== null) sink.reused(socket, made.scope, made.stack)
  }
  diagnostics.subscribe('undici:request:create', created)
  diagnostics.subscribe('undici:client:sendHeaders', sent)
  return () => {
    diagnostics.unsubscribe('undici:request:create', created)
    diagnostics.unsubscribe('undici:client:sendHeaders', sent)
  }
}

/** The path in the arguments of `connect`, which Node also hands on as `[options, callback]`. */
function pathOf(args: unknown[]): string {
  const first = Array.isArray(args[0]) ? (args[0] as unknown[])[0] : args[0]
  if (typeof first === 'string') return /^\d+$/.test(first) ? '' : textOf(first)
  return textOf(plainProperty(first, 'path'))
}

function processSources(patches: Patches, sink: HandleSink): void {
  patches.wrap([childProcess.ChildProcess.prototype], 'spawn', (original, self, args, wrapper) => {
    const result = Reflect.apply(original, self, args)
    const { spawnargs, spawnfile } = self as { spawnargs?: unknown; spawnfile?: unknown }
    const words = Array.isArray(spawnargs) ? spawnargs.map(textOf).join(' ') : textOf(spawnfile)
    sink.made(
      childKind,
      self as object,
      { detail: words.replace(/\s+/g, ' ').slice(0, LONGEST_DETAIL) },
      new RawStack(wrapper),
    )
    return result
  })
  patches.wrapClass([workerThreads], 'Worker', (worker, args, trap) => {
    const detail = plainProperty(args[1], 'eval') === true ? 'eval' : textOf(args[0])
    sink.made(workerKind, worker, { detail }, new RawStack(trap))
  })
}

function channelSources(patches: Patches, sink: HandleSink): void {
  patches.wrapClass([workerThreads, globalThis], 'BroadcastChannel', (channel, args, trap) => {
    sink.made(channelKind, channel, { detail: textOf(args[0]) }, new RawStack(trap))
  })
  patches.wrapClass([workerThreads, globalThis], 'MessageChannel', (channel, _, trap) => {
    const { port1, port2 } = channel as { port1: object; port2: object }
    const stack = new RawStack(trap)
    for (const port of [port1, port2]) sink.made(portKind, port, NO_DETAIL, stack)
  })
}

function fileSources(patches: Patches, sink: HandleSink): void {
  watchSources(patches, sink)
  patches.wrap([fs.promises], 'open', (original, self, args, wrapper) => {
    const opened = Reflect.apply(original, self, args) as Promise<object>
    const note = { detail: textOf(args[0]) }
    const stack = new RawStack(wrapper)
    // The promise that is handed out must stay the only one, else a failure would count as handled.
    return opened.then((handle) => {
      sink.made(fileHandleKind, handle, note, stack)
      return handle
    })
  })

  const budget = new StackBudget()
  const descriptors = new Map<number, OpenDescriptor>()
  const opened = (fd: unknown, path: unknown, stack: RawStack | null): void => {
    if (typeof fd !== 'number') return
    const known = descriptors.get(fd)
    if (known) known.closed = true
    const descriptor = new OpenDescriptor(fd)
    descriptors.set(fd, descriptor)
    sink.made(descriptorKind, descriptor, { detail: textOf(path) }, stack)
  }
  const closed = (fd: unknown): void => {
    const known = descriptors.get(fd as number)
    if (!known) return
    known.closed = true
    descriptors.delete(known.fd)
  }
  patches.wrap([fs], 'openSync', (original, self, args, wrapper) => {
    const fd = Reflect.apply(original, self, args)
    opened(fd, args[0], budget.take(wrapper))
    return fd
  })
  patches.wrap([fs], 'open', (original, self, args, wrapper) => {
    const last = args.length - 1
    const callback = args[last]
    if (typeof callback !== 'function') return Reflect.apply(original, self, args)
    const stack = budget.take(wrapper)
    const path = args[0]
    const noted = function (this: unknown, error: unknown, fd: unknown): void {
      if (!error) opened(fd, path, stack)
      Reflect.apply(callback, this, [error, fd])
    }
    return Reflect.apply(original, self, [...args.slice(0, last), noted])
  })
  patches.wrap([fs], 'closeSync', (original, self, args) => {
    closed(args[0])
    return Reflect.apply(original, self, args)
  })
  patches.wrap([fs], 'close', (original, self, args) => {
    closed(args[0])
    return Reflect.apply(original, self, args)
  })
}

function watchSources(patches: Patches, sink: HandleSink): void {
  /** Watchers that a recursive watcher makes while it is made. */
  let parts: WeakRef<object>[] | null = null
  patches.wrap([fs], 'watch', (original, self, args, wrapper) => {
    const outer = parts
    const mine: WeakRef<object>[] = []
    parts = mine
    try {
      const watcher = Reflect.apply(original, self, args) as object
      if (outer) outer.push(new WeakRef(watcher), ...mine)
      else sink.made(watchKind, watcher, { detail: textOf(args[0]), parts: mine }, new RawStack(wrapper))
      return watcher
    } finally {
      parts = outer
    }
  })
  patches.wrap([fs.promises], 'watch', (original, self, args, wrapper) => {
    const values = Reflect.apply(original, self, args)
    if (typeof values !== 'object' || values === null) return values
    const [, signal] = optionsOf(args[1])
    const state = new AsyncValues(plainProperty(args[1], 'persistent') !== false, signal)
    const stack = new RawStack(wrapper)
    watchValues(values, state, () => sink.made(watchValuesKind, state, { detail: textOf(args[0]) }, stack))
    return values
  })
  patches.wrap([fs], 'watchFile', (original, self, args, wrapper) => {
    const watcher = Reflect.apply(original, self, args) as object
    sink.made(statWatchKind, watcher, { detail: textOf(args[0]) }, new RawStack(wrapper))
    return watcher
  })
}
