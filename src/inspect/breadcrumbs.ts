/**
 * Breadcrumbs: thin wrappers around synchronous calls that can block for ever. A thread that sits in a system call answers
 * no inspector, so the call is noted before it is entered and the note is erased after it. Runs in the sick process: the
 * wrappers behave exactly like the functions they wrap.
 */
import childProcess from 'node:child_process'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { readCallSites } from './call-sites.ts'
import type { Breadcrumb } from './facts.ts'
import { isLoaded, loadedModules } from './loaded.ts'

export interface BreadcrumbSink {
  /** Called before a call that can block. */
  enter(crumb: Breadcrumb): void
  /** Called after it, also when it threw. */
  leave(): void
  /** Asked before each call; while it answers false, nothing is noted. Must be cheap. */
  isOn?(): boolean
  /** Changes a command line or a path before it is shortened and handed out, e.g. to blank out secrets. */
  redact?(text: string): string
}

type Callable = (this: unknown, ...args: unknown[]) => unknown

/**
 * Answers how a call is to be noted: its detail, or undefined when it cannot block. `settle` is told the result, for the
 * calls that make descriptors.
 */
interface Plan {
  owner: Record<string, unknown>
  /** Name of the owner in the crumb: `fs`, `child_process`, `Atomics`. */
  label: string
  name: string
  detail(args: readonly unknown[]): string | undefined
  settle?(args: readonly unknown[], result: unknown, canBlock: boolean): void
}

const DETAIL_LENGTH = 200
const MOST_FRAMES = 12
/** Longer texts are cut before they are redacted, so that a huge argument costs nothing. */
const LONGEST_RAW_DETAIL = 4000

// Copies of what the user's tests may replace: fake timers replace Date, spies replace fs.
const now = Date.now
const apply = Reflect.apply
const statSync = fs.statSync
const fstatSync = fs.fstatSync
const QUIET = { throwIfNoEntry: false } as const
const { S_IFMT, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK } = fs.constants

let sinks: readonly BreadcrumbSink[] = []
const wrappers = new WeakSet<object>()
const undo: (() => void)[] = []
/** What is known of a descriptor that can block; device and inode tell whether the number has been reused since. */
interface OpenFile {
  words: string
  dev: number
  ino: number
}

/** Descriptors that were opened in this thread; null for those that cannot block. */
const descriptors = new Map<number, OpenFile | null>()
/** True inside a wrapped call: what Node calls in turn (readFileSync -> openSync) belongs to the outer note. */
let inside = false

/**
 * Wraps `child_process.execSync`, `execFileSync` and `spawnSync`, `Atomics.wait`, and of `fs` the calls that block on a
 * FIFO, pipe, socket or terminal: openSync, readFileSync, writeFileSync, appendFileSync, readSync, writeSync, readvSync,
 * writevSync, copyFileSync (`cpSync` refuses such files itself). Named ESM imports of them see the wrappers as well.
 *
 * A call of `fs` whose target cannot block (regular file, directory, missing) costs one `stat` more, about 1 µs, and makes
 * no note. Known gap: `stat` itself hangs on a dead network mount, without a note.
 *
 * May be called several times; each sink gets every note. What a sink throws is swallowed.
 *
 * @returns takes this sink out again; with the last one the original functions come back, except where someone else
 * has wrapped them meanwhile (there the wrapper stays and only passes through)
 */
export function installBreadcrumbs(sink: BreadcrumbSink): () => void {
  sinks = [...sinks, sink]
  for (const plan of plans()) wrap(plan)
  syncBuiltinESMExports()
  let installed = true
  return () => {
    if (!installed) return
    installed = false
    // The same sink may be installed twice; each installation counts.
    sinks = sinks.toSpliced(sinks.indexOf(sink), 1)
    if (sinks.length > 0) return
    for (const restore of undo.splice(0).reverse()) restore()
    looked = 0
    descriptors.clear()
    syncBuiltinESMExports()
  }
}

/**
 * Wraps the calls of `node:crypto` that compute for as long as they are told to as well, if the program has loaded it: to
 * load it takes some milliseconds, which a program without it need not pay. May be called again and again.
 */
export function noteCryptoCalls(): void {
  const { length } = loadedModules()
  // Asked between tests: nothing has been loaded since the last time, mostly.
  if (sinks.length === 0 || length === looked) return
  looked = length
  if (!isLoaded('crypto')) return
  for (const plan of cryptoPlans()) wrap(plan)
  syncBuiltinESMExports()
}

/** So many modules were loaded when it was last looked for `node:crypto`. */
let looked = 0

function wrap(plan: Plan): void {
  const { owner, name } = plan
  const property = Object.getOwnPropertyDescriptor(owner, name)
  const original: unknown = property?.value
  if (!property?.configurable || typeof original !== 'function' || wrappers.has(original)) return
  const wrapper = disguise(makeWrapper(plan, original as Callable), original as Callable)
  wrappers.add(wrapper)
  Object.defineProperty(owner, name, { ...property, value: wrapper })
  undo.push(() => {
    if (Object.getOwnPropertyDescriptor(owner, name)?.value === wrapper) Object.defineProperty(owner, name, property)
  })
}

function makeWrapper(plan: Plan, original: Callable): Callable {
  const call = `${plan.label}.${plan.name}`
  // A method, as Atomics.wait and most built-in functions cannot be called with `new` either.
  const holder = {
    wrapper(this: unknown, ...args: unknown[]): unknown {
      if (inside || !anyoneListens()) return apply(original, this, args)
      inside = true
      let entered: BreadcrumbSink[] | undefined
      try {
        const detail = plan.detail(args)
        if (detail !== undefined) entered = enterAll(call, detail, holder.wrapper)
        const result = apply(original, this, args)
        plan.settle?.(args, result, detail !== undefined)
        return result
      } finally {
        inside = false
        if (entered !== undefined) leaveAll(entered)
      }
    },
  }
  return holder.wrapper
}

/** Gives the wrapper the looks of the original: name, length, prototype and own properties (`util.promisify.custom`). */
function disguise(wrapper: Callable, original: Callable): Callable {
  Object.setPrototypeOf(wrapper, Object.getPrototypeOf(original))
  Object.defineProperties(wrapper, Object.getOwnPropertyDescriptors(original))
  return wrapper
}

function anyoneListens(): boolean {
  for (let index = 0; index < sinks.length; index++) {
    const sink = sinks[index]!
    if (sink.isOn === undefined) return true
    try {
      if (sink.isOn()) return true
    } catch {
      // A sink that throws has no say.
    }
  }
  return false
}

function enterAll(call: string, raw: string, wrapper: Callable): BreadcrumbSink[] {
  const entered: BreadcrumbSink[] = []
  const frames = readCallSites(MOST_FRAMES, wrapper)
  const since = now()
  for (const sink of sinks) {
    try {
      if (sink.isOn?.() === false) continue
      const text = sink.redact ? sink.redact(raw) : raw
      sink.enter({ call, detail: cut(text, DETAIL_LENGTH), since, frames })
      entered.push(sink)
    } catch {
      // The call must go on whatever becomes of the note.
    }
  }
  return entered
}

function leaveAll(entered: readonly BreadcrumbSink[]): void {
  for (const sink of entered) {
    try {
      sink.leave()
    } catch {
      // As above.
    }
  }
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`
}

function plans(): Plan[] {
  const modules = { fs, child_process: childProcess, Atomics } as unknown as Record<string, Record<string, unknown>>
  const plan = (label: string, name: string, detail: Plan['detail'], settle?: Plan['settle']): Plan => {
    return { owner: modules[label] ?? {}, label, name, detail, settle }
  }
  return [
    plan('child_process', 'execSync', (args) => textOf(args[0])),
    plan('child_process', 'execFileSync', commandLine),
    plan('child_process', 'spawnSync', commandLine),
    plan('Atomics', 'wait', (args) => (args[3] === 0 ? undefined : waitWords(args))),
    plan('fs', 'openSync', (args) => blockingPath(args[0]), rememberDescriptor),
    ...['readFileSync', 'writeFileSync', 'appendFileSync'].map((name) =>
      plan('fs', name, (args) => blockingTarget(args[0])),
    ),
    ...['readSync', 'writeSync', 'readvSync', 'writevSync'].map((name) =>
      plan('fs', name, (args) => blockingDescriptor(args[0])),
    ),
    plan('fs', 'copyFileSync', (args) => blockingPath(args[0]) ?? blockingPath(args[1])),
  ]
}

/** What is computed, never the password or the key. */
function cryptoPlans(): Plan[] {
  const crypto: object = process.getBuiltinModule('node:crypto')
  const plan = (name: string, detail: Plan['detail']): Plan => {
    return { owner: crypto as Record<string, unknown>, label: 'crypto', name, detail }
  }
  return [
    plan('pbkdf2Sync', (args) => `${textOf(args[2])} iterations of ${textOf(args[4])}`),
    plan('scryptSync', (args) => costOf(args[3])),
    plan('generateKeyPairSync', (args) => textOf(args[0])),
    plan('generatePrimeSync', (args) => `${textOf(args[0])} bits`),
    plan('checkPrimeSync', () => 'a candidate'),
  ]
}

/** `cost 1048576` of scrypt's options, whose getters are not run. */
function costOf(options: unknown): string {
  if (typeof options !== 'object' || options === null) return 'cost 16384'
  const cost = ['cost', 'N'].map((name) => Object.getOwnPropertyDescriptor(options, name)?.value)
  return `cost ${textOf(cost.find((one) => typeof one === 'number') ?? 16384)}`
}

/** Text of an argument without running any code of the user's. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value.length > LONGEST_RAW_DETAIL ? value.slice(0, LONGEST_RAW_DETAIL) : value
  if (typeof value === 'number') return String(value)
  if (Buffer.isBuffer(value)) return value.subarray(0, LONGEST_RAW_DETAIL).toString()
  return value instanceof URL ? textOf(value.href) : `(${typeof value})`
}

function commandLine(args: readonly unknown[]): string {
  const words = [textOf(args[0])]
  let length = 0
  for (const word of Array.isArray(args[1]) ? args[1] : []) {
    if (length > LONGEST_RAW_DETAIL) break
    words.push(textOf(word))
    length += words[words.length - 1]?.length ?? 0
  }
  return words.join(' ')
}

function waitWords(args: readonly unknown[]): string {
  const limit = args[3]
  const time = typeof limit === 'number' && limit < Number.POSITIVE_INFINITY ? `at most ${limit} ms` : 'no time limit'
  return `index ${textOf(args[1])}, ${time}`
}

function blockingTarget(target: unknown): string | undefined {
  return typeof target === 'number' ? blockingDescriptor(target) : blockingPath(target)
}

/** The path, when opening it can wait for somebody else; undefined for all that cannot. */
function blockingPath(path: unknown): string | undefined {
  if (typeof path !== 'string' && !Buffer.isBuffer(path) && !(path instanceof URL)) return undefined
  try {
    const stat = statSync(path, QUIET)
    return stat !== undefined && canBlock(stat) ? textOf(path) : undefined
  } catch {
    // The call itself will say what is wrong with the path.
    return undefined
  }
}

function blockingDescriptor(fd: unknown): string | undefined {
  if (typeof fd !== 'number') return undefined
  const known = descriptors.get(fd)
  if (known === null) return undefined
  try {
    const stat = fstatSync(fd)
    if (known !== undefined && known.ino === stat.ino && known.dev === stat.dev) return known.words
    if (canBlock(stat)) return describe(fd)
    // Others are closed and used again behind our back; the standard ones stay what they are.
    if (fd <= 2) descriptors.set(fd, null)
  } catch {
    // Not an open descriptor: the call itself will say so.
  }
  return undefined
}

function describe(fd: number): string {
  const name = ['stdin', 'stdout', 'stderr'][fd]
  return name === undefined ? `fd ${fd}` : `fd ${fd} (${name})`
}

function rememberDescriptor(args: readonly unknown[], fd: unknown, canBlock: boolean): void {
  if (typeof fd !== 'number') return
  descriptors.set(fd, null)
  if (!canBlock) return
  const { dev, ino } = fstatSync(fd)
  descriptors.set(fd, { words: `fd ${fd} (${textOf(args[0])})`, dev, ino })
}

/** Not regular files, directories and disks, nor `/dev/null`, `/dev/zero`, `/dev/urandom` (major number 1). */
function canBlock(stat: fs.Stats): boolean {
  const kind = stat.mode & S_IFMT
  if (kind === S_IFREG || kind === S_IFDIR || kind === S_IFBLK) return false
  return kind !== S_IFCHR || stat.rdev >> 8 !== 1
}
