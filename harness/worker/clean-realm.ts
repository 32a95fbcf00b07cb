/**
 * What a worker needs to look at itself, as it was before any user code ran. Tests replace `process`, `fs`, `URL`, methods of
 * `Array.prototype` or of `JSON`, and forget to put them back when they hang; a look that ran into such a stub would be lost.
 */
import { EventEmitter } from 'node:events'
import fs from 'node:fs'

type Key = string | symbol

interface Known {
  object: object
  keys: Key[]
  properties: PropertyDescriptor[]
  /** What was added to it is taken away as well: it shows in every object. */
  shared: boolean
}

interface Undo {
  object: object
  key: Key
  was: PropertyDescriptor | undefined
}

const { ownKeys, getOwnPropertyDescriptor, defineProperty, deleteProperty, getPrototypeOf, get, set } = Reflect
const { isFrozen } = Object
/**
 * Globals by name, since merely looking at some of the others loads them (`FormData`). Timers are not among them: whoever has
 * replaced them is found in the heap, and the worker's side has copies.
 */
const GLOBALS = new Set<Key>(
  `Object Array Map Set WeakMap WeakRef String RegExp Promise Function Error TypeError RangeError SyntaxError
  Number Symbol BigInt Date Uint8Array JSON Math Reflect Proxy URL URLSearchParams performance structuredClone
  TextDecoder TextEncoder AbortController AbortSignal queueMicrotask`.split(/\s+/),
)
/** Those that loading and looking call; all of them would cost a start several times as much. */
const DISK = `readFileSync openSync closeSync readSync statSync lstatSync fstatSync realpathSync existsSync readdirSync
  readlinkSync writeSync`.split(/\s+/)
const PROCESS = 'getBuiltinModule getActiveResourcesInfo memoryUsage hrtime cwd binding emit kill'.split(' ')
/** Their accessors keep what was assigned where no descriptor shows it. */
const HIDDEN: readonly Key[] = ['process', 'Buffer']

/** Remembers everything now. */
export class CleanRealm {
  readonly #known: Known[] = []
  readonly #hidden: unknown[] = []

  constructor() {
    this.#remember(globalThis, () => true, GLOBALS)
    for (const name of HIDDEN) this.#hidden.push(get(globalThis, name))
    for (const one of [Object, Array, Map, Set, String, RegExp, Promise, Function, Error, URL]) {
      this.#remember(one)
      this.#remember(one.prototype, isMethod, undefined, true)
    }
    for (const one of [EventEmitter.prototype, Buffer, JSON, Math, Reflect, Number]) this.#remember(one)
    this.#remember(fs, isMethod, DISK)
    this.#remember(process, isMethod, PROCESS)
    for (const one of [Uint8Array.prototype, [][Symbol.iterator](), new Map().values(), new Set().values()]) {
      this.#remember(getPrototypeOf(one) as object)
    }
    for (const one of [getPrototypeOf([][Symbol.iterator]()), 'a'.matchAll(/a/g), (function* () {})(), performance]) {
      this.#remember(getPrototypeOf(one as object) as object)
    }
  }

  /** Does something that is synchronous; nobody sees the difference. */
  within<T>(act: () => T): T {
    const undo: Undo[] = []
    const hidden: unknown[] = []
    // Neither iterators nor methods of arrays: they may be what was replaced.
    for (let i = 0; i < HIDDEN.length; i++) hidden[i] = get(globalThis, HIDDEN[i] as Key)
    try {
      for (let i = 0; i < this.#known.length; i++) restore(this.#known[i] as Known, undo)
      assign(this.#hidden)
      return act()
    } finally {
      assign(hidden)
      for (let i = undo.length - 1; i >= 0; i--) {
        const { object, key, was } = undo[i] as Undo
        if (was) defineProperty(object, key, was)
        else deleteProperty(object, key)
      }
    }
  }

  #remember(object: object, wanted = isMethod, names: Iterable<Key> = ownKeys(object), shared = false): void {
    const known: Known = { object, keys: [], properties: [], shared }
    for (const key of names) {
      const property = getOwnPropertyDescriptor(object, key)
      if (!property?.configurable || !wanted(property)) continue
      known.keys.push(key)
      known.properties.push(property)
    }
    this.#known.push(known)
  }
}

/** Where it is not writable it stays as it is. */
function assign(hidden: readonly unknown[]): void {
  for (let i = 0; i < HIDDEN.length; i++) {
    const name = HIDDEN[i] as Key
    if (get(globalThis, name) !== hidden[i]) set(globalThis, name, hidden[i])
  }
}

function isMethod({ value, get }: PropertyDescriptor): boolean {
  return typeof value === 'function' || get !== undefined
}

function restore({ object, keys, properties, shared }: Known, undo: Undo[]): void {
  if (isFrozen(object)) return
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as Key
    const clean = properties[i] as PropertyDescriptor
    const was = getOwnPropertyDescriptor(object, key)
    if (was && was.value === clean.value && was.get === clean.get) continue
    // Not possible where somebody has sealed it.
    if (defineProperty(object, key, clean)) undo[undo.length] = { object, key, was }
  }
  if (!shared) return
  const now = ownKeys(object)
  for (let i = 0; i < now.length; i++) {
    const key = now[i] as Key
    const was = getOwnPropertyDescriptor(object, key)
    if (was?.enumerable && !includes(keys, key) && deleteProperty(object, key)) undo[undo.length] = { object, key, was }
  }
}

function includes(keys: Key[], wanted: Key): boolean {
  for (let i = 0; i < keys.length; i++) if (keys[i] === wanted) return true
  return false
}
