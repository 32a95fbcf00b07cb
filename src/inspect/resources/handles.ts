/**
 * Which handles of this thread are open, and who made them. Node has a list of kinds (`process.getActiveResourcesInfo`)
 * without identity; `async_hooks` has identity, but makes every promise dear in Node 22 and every `nextTick` in the later
 * ones, and sees `server.listen(port, host)` only after the user's code has returned. So the functions that make handles
 * are wrapped.
 */
import type { Socket } from 'node:net'
import { monotonic } from '../../process/clean.ts'
import type { LiveHandle } from '../facts.ts'
import { type HandleKind, type Note, serverKind, socketKind, unixSocketKind } from './kinds.ts'
import { Patches } from './patches.ts'
import type { RawStack } from './raw-stack.ts'
import { type HandleSink, installSources } from './sources.ts'

export interface HandleOptions {
  /** Asked at each creation: whose is it? The answer comes back with the handle. Must be cheap. */
  scope(): unknown
  /** Is the script at this url (as V8 knows it) the user's code? */
  isUser(url: string): boolean
  /** Changes a command line or a path before it is handed out, e.g. to blank out secrets. */
  redact?(text: string): string
}

/** A handle that is open now. */
export interface HandleEntry {
  handle: LiveHandle
  /** What `scope()` answered when it was made. */
  scope: unknown
  /** Is a function of the user's on its creation stack? */
  user: boolean
}

export interface LiveFilter {
  /** Only those made after this mark. */
  since?: number
  /** Only those made up to this mark. */
  until?: number
  /** Also those that do not keep the process alive; default false. */
  unref?: boolean
}

export interface HandleRegistry {
  /**
   * Handles that are open now and hold something: they keep the process alive, or are open files. Oldest first. What Node
   * made for one of them is not listed apart: the pipes of a child, the ports of a worker, what a server that still
   * listens has accepted, the other end of a socket that is listed.
   */
  live(filter?: LiveFilter): HandleEntry[]
  /** The `LiveHandle.id` of an object; undefined when its making was not seen. Looks through all of them. */
  idOf(thing: object): number | undefined
  /** A point in time: the id of the youngest handle. */
  mark(): number
  /** Number of handles that are open, those included that hold nothing. */
  readonly size: number
  /** Forgets what it knows, and goes on: this process is a copy of another one, whose handles are not its own. */
  forget(): void
  /** Puts Node's functions back; what was known is forgotten. */
  close(): void
}

/** Closed ones are swept out when so many have come together, or twice as many as were left the last time. */
const FEWEST_BEFORE_SWEEP = 1000
/** Raw stacks hold what is on them; after so long the frames are read of what is still open, and the others are dropped. */
const TIDY_MS = 100
/** A server that has been looking up its host for so long will never listen. */
const LONGEST_LOOKUP_MS = 60_000

// Fake timers must not get hold of ours, nor the registry.
const startTimer = setTimeout
const stopTimer = clearTimeout

function laterUnref(run: () => void, ms: number): NodeJS.Timeout {
  return startTimer(run, ms).unref()
}

interface HandleRecord {
  id: number
  kind: HandleKind
  thing: WeakRef<object>
  /** Held for what nobody else holds: a descriptor's number. */
  own: object | null
  note: Note
  scope: unknown
  at: number
  stack: RawStack | null
  /** It was seen open. */
  opened: boolean
  /** A younger record tells of the same thing. */
  replaced?: boolean
  /** Server that accepted this socket. */
  server?: WeakRef<object>
}

/**
 * Starts to record handles of this thread: timers, servers, sockets (TCP, Unix, UDP, TLS), child processes, workers, message
 * and broadcast channels, watchers, file handles, and descriptors from `fs.openSync`.
 *
 * Not seen: what code made that took its own copy of a function before this call (Node itself does for its timers), what
 * addons make, `setImmediate` and `scheduler` of `timers/promises`, `immediate`s, and other realms (`node:vm`).
 *
 * A request of `fetch` shows as a `Socket` while it waits for its answer, made by the latest request that it serves; its idle
 * connections do not keep the process alive, nor do those of an `http.Agent`.
 *
 * Cost: about 6 us per timer, less in a burst, where only the first 1000 of 100 ms get a stack; about 10 us per other handle, and 15 us more for each that lives longer than 100 ms.
 */
export function installHandles(options: HandleOptions): HandleRegistry {
  return new Registry(options)
}

class Registry implements HandleRegistry, HandleSink {
  readonly #options: HandleOptions
  readonly #patches = new Patches()
  readonly #unsubscribe: () => void
  /** Where servers were told to listen: nobody's call makes the connections that they accept. */
  readonly #listens = new WeakMap<object, RawStack>()
  readonly #sockets = new WeakMap<object, HandleRecord>()
  #records: HandleRecord[] = []
  #last = 0
  #tidying: NodeJS.Timeout | null = null
  #sweepAt = FEWEST_BEFORE_SWEEP

  constructor(options: HandleOptions) {
    this.#options = options
    this.#unsubscribe = installSources(this.#patches, this)
  }

  made(kind: HandleKind, thing: object, note: Note, stack: RawStack | null): void {
    if (kind === serverKind && stack) {
      stack.frames()
      this.#listens.set(thing, stack)
    }
    const record = this.#add(kind, thing, note, stack)
    if (kind === socketKind || kind === unixSocketKind) this.#sockets.set(thing, record)
  }

  scope(): unknown {
    try {
      return this.#options.scope()
    } catch {
      return undefined
    }
  }

  reused(socket: object, scope: unknown, stack: RawStack): void {
    const before = this.#sockets.get(socket)
    if (!before) return
    before.replaced = true
    const record = this.#add(before.kind, socket, before.note, stack)
    record.scope = scope
    this.#sockets.set(socket, record)
  }

  accepted(socket: Socket): void {
    const { server } = socket as { server?: object }
    const stack = (server && this.#listens.get(server)) ?? null
    this.#add(socketKind, socket, { detail: '' }, stack, server)
  }

  #add(kind: HandleKind, thing: object, note: Note, stack: RawStack | null, server?: object): HandleRecord {
    const record: HandleRecord = {
      id: ++this.#last,
      kind,
      thing: new WeakRef(thing),
      own: kind.own ? thing : null,
      note,
      scope: this.scope(),
      at: monotonic(),
      stack,
      opened: false,
      ...(server && { server: new WeakRef(server) }),
    }
    this.#records.push(record)
    if (stack && !this.#tidying) this.#tidying = laterUnref(() => this.#tidy(), TIDY_MS)
    if (this.#records.length >= this.#sweepAt) {
      this.#sweep()
      this.#sweepAt = Math.max(FEWEST_BEFORE_SWEEP, 2 * this.#records.length)
    }
    return record
  }

  mark(): number {
    return this.#last
  }

  get size(): number {
    return this.#sweep()
  }

  #tidy(): void {
    this.#tidying = null
    this.#sweep()
    for (const { stack } of this.#records) stack?.frames()
  }

  /** Forgets what is closed; answers how many of the others are open. */
  #sweep(): number {
    let open = 0
    let kept = 0
    const records = this.#records
    for (let index = 0; index < records.length; index++) {
      const record = records[index]!
      const phase = phaseOf(record)
      if (phase === 'closed') continue
      if (phase === 'open') open++
      records[kept++] = record
    }
    records.length = kept
    return open
  }

  idOf(thing: object): number | undefined {
    return this.#records.find((record) => record.thing.deref() === thing)?.id
  }

  live(filter: LiveFilter = {}): HandleEntry[] {
    this.#sweep()
    const { since = 0, until = Number.POSITIVE_INFINITY, unref = false } = filter
    const open = new Map<object, HandleRecord>()
    for (const record of this.#records) {
      const thing = record.thing.deref()
      if (thing === undefined || phaseOf(record) !== 'open') continue
      // A socket that connects again, or a file that is watched twice, counts as made then.
      open.delete(thing)
      open.set(thing, record)
    }
    const ends = endsOf(open)
    const entries: HandleEntry[] = []
    for (const [thing, record] of open) {
      if (record.id <= since || record.id > until) continue
      if (record.server && isPartOfAnother(thing, record, open, ends)) continue
      const entry = this.#entry(thing, record)
      if (entry && (unref || entry.handle.ref || record.kind.counts)) entries.push(entry)
    }
    return entries
  }

  #entry(thing: object, record: HandleRecord): HandleEntry | undefined {
    const { kind, note } = record
    const made = record.stack?.frames() ?? []
    const pid = attempt(() => kind.pid?.(thing), undefined)
    const threadId = attempt(() => kind.threadId?.(thing), undefined)
    const what = attempt(() => kind.what(thing, note), '')
    const handle: LiveHandle = {
      id: record.id,
      kind: attempt(() => kind.name(thing), 'Unknown'),
      what: attempt(() => this.#options.redact?.(what) ?? what, ''),
      ref: attempt(() => kind.ref(thing, note), true),
      ageMs: Math.max(0, Math.round(monotonic() - record.at)),
      created: made,
      ...(pid !== undefined && { pid }),
      ...(threadId !== undefined && { threadId }),
    }
    const user = made.some(({ at }) => at !== null && attempt(() => this.#options.isUser(at.url), false))
    return { handle, scope: record.scope, user }
  }

  forget(): void {
    if (this.#tidying) stopTimer(this.#tidying)
    this.#tidying = null
    this.#records = []
  }

  close(): void {
    this.#patches.undo()
    this.#unsubscribe()
    if (this.#tidying) stopTimer(this.#tidying)
    this.#records = []
  }
}

function attempt<T>(look: () => T, otherwise: T): T {
  try {
    return look()
  } catch {
    return otherwise
  }
}

function phaseOf(record: HandleRecord): 'open' | 'idle' | 'closed' {
  const thing = record.thing.deref()
  if (thing === undefined || record.replaced) return 'closed'
  try {
    const phase = record.kind.phase(thing, record.note)
    if (phase === 'idle' && record.kind.opensLate) {
      // It listened once and does so no more, or it never will.
      return record.opened || monotonic() - record.at > LONGEST_LOOKUP_MS ? 'closed' : 'idle'
    }
    if (phase === 'open') record.opened = true
    return phase
  } catch {
    return 'closed'
  }
}

/** Ports of the connections that hold the process: the other end of one that was accepted here may be among them. */
function endsOf(open: ReadonlyMap<object, HandleRecord>): Set<string> {
  const ends = new Set<string>()
  for (const [thing, { kind, note }] of open) {
    if (kind !== socketKind || !attempt(() => kind.ref(thing, note), false)) continue
    const { localPort, remotePort } = attempt(() => portsOf(thing), {})
    if (localPort !== undefined && remotePort !== undefined) ends.add(`${localPort} ${remotePort}`)
  }
  return ends
}

function portsOf(thing: object): { localPort?: number; remotePort?: number } {
  const { localPort, remotePort } = thing as Partial<Socket>
  return { localPort, remotePort }
}

function isPartOfAnother(
  thing: object,
  record: HandleRecord,
  open: ReadonlyMap<object, HandleRecord>,
  ends: ReadonlySet<string>,
): boolean {
  const server = record.server?.deref()
  if (server && open.has(server)) return true
  const { localPort, remotePort } = attempt(() => portsOf(thing), {})
  return ends.has(`${remotePort} ${localPort}`)
}
