/**
 * Before a value is encoded it is walked once: what has no form on the wire is refused with the path to it, and errors, large
 * buffers and registered classes are replaced by {@link Tagged} boxes. Plain values come back as they are, without a copy.
 */
import { MsgTypeError } from '../errors.ts'
import { boxError, isError, unboxError } from './error-box.ts'

/** Kinds of boxes. */
export const Tag = { blob: 0, error: 1, custom: 2, url: 3, minusZero: 4 } as const

/** Stands for a value that MessagePack has no form for. @internal */
export class Tagged {
  readonly tag: number
  readonly data: unknown

  constructor(tag: number, data: unknown) {
    this.tag = tag
    this.data = data
  }
}

/** How values of a class travel; see {@link registerValueType}. */
export interface ValueType<T> {
  /** Known on both sides. */
  name: string
  class: abstract new (...args: never[]) => T
  /** To something that can travel. */
  encode(value: T): unknown
  decode(data: unknown): T
}

const typesByName = new Map<string, ValueType<unknown>>()
const typesByClass = new Map<unknown, ValueType<unknown>>()

/**
 * Lets instances of a class travel. Must be called in both actors.
 *
 * Without it these travel: text, numbers, bigints, booleans, null and undefined; arrays and plain objects; `Map`, `Set`, `Date`,
 * `RegExp`, `URL`, `ArrayBuffer`, `DataView`, typed arrays, `Buffer` and errors. Instances of all other classes are refused, those
 * that extend one of these included, and so are functions, symbols and promises.
 *
 * @param type `encode` gives what can travel; `decode` makes an instance of it over there
 * @throws MsgTypeError when the name is taken by another class
 * @example
 * ```ts
 * import { registerValueType } from 'harrow'
 *
 * class Money {
 *   readonly cents: number
 *   constructor(cents: number) {
 *     this.cents = cents
 *   }
 * }
 * registerValueType({ name: 'Money', class: Money, encode: (m) => m.cents, decode: (cents) => new Money(cents as number) })
 * ```
 */
export function registerValueType<T>(type: ValueType<T>): void {
  const known = typesByName.get(type.name)
  if (known && known.class !== type.class)
    throw new MsgTypeError(`a value type named ${type.name} is registered already.`)
  typesByName.set(type.name, type as ValueType<unknown>)
  typesByClass.set(type.class, type as ValueType<unknown>)
}

/**
 * What travels, as `registerValueType` and the docs say it:
 *
 * - text (a lone surrogate arrives as U+FFFD), numbers (`NaN`, infinities and `-0` too), bigints, booleans, null, undefined;
 * - arrays: their items, a hole as undefined, no other properties; plain objects: own enumerable properties with text as key;
 * - `Map`, `Set`, `Date`, `RegExp`, `URL`, `ArrayBuffer`, `DataView`, typed arrays and `Buffer`, also of another realm; errors.
 *
 * An instance of any other class, one that extends one of those included, is refused unless its class is registered: it would
 * arrive as something else. The same object at two places arrives as two.
 */
const NAMES = ['Array', 'Map', 'Set', 'Date', 'RegExp', 'ArrayBuffer', 'URL'] as const
type Known = (typeof NAMES)[number] | 'view'

/** From this size on, bytes go beside the message instead of through the encoder. */
const BLOB_BYTES = 2048
const MOST_DEPTH = 100
const plain = Object.prototype
const list = Array.prototype

/** What a walk collects beside the value. */
export interface Blobs {
  parts: Uint8Array[]
}

/** @throws MsgTypeError; its path is made by {@link pathOf}, which only a failure pays for */
export function prepare(value: unknown, blobs: Blobs, depth = 0): unknown {
  switch (typeof value) {
    case 'number':
      return value === 0 && 1 / value < 0 ? new Tagged(Tag.minusZero, 0) : value
    case 'string':
    case 'boolean':
    case 'undefined':
    case 'bigint':
      return value
    case 'object':
      return value === null ? value : prepareObject(value, blobs, depth)
    default:
      throw refuse(value)
  }
}

function prepareObject(value: object, blobs: Blobs, depth: number): unknown {
  if (depth > MOST_DEPTH) throw new MsgTypeError('is nested more than 100 deep, or contains itself')
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype === plain || prototype === null) return prepareRecord(value as Record<string, unknown>, blobs, depth)
  if (prototype === list) return prepareArray(value as unknown[], blobs, depth)
  if (typesByClass.size > 0) {
    const type = typesByClass.get(prototype.constructor)
    if (type) return new Tagged(Tag.custom, [type.name, prepare(type.encode(value), blobs, depth + 1)])
  }
  switch (ofClass.get(prototype) ?? ofOtherRealm(value, prototype)) {
    case 'Array':
      return prepareArray(value as unknown[], blobs, depth)
    case 'Map':
      return prepareMap(value as Map<unknown, unknown>, blobs, depth)
    case 'Set':
      return prepareSet(value as Set<unknown>, blobs, depth)
    case 'Date':
      return value instanceof Date ? value : new Date(Number(value))
    case 'RegExp':
      return value instanceof RegExp ? value : new RegExp((value as RegExp).source, (value as RegExp).flags)
    case 'ArrayBuffer':
      return prepareView(new Uint8Array(value as ArrayBuffer), blobs, 'ArrayBuffer')
    case 'URL':
      return new Tagged(Tag.url, (value as URL).href)
    case 'view':
      return prepareView(value as ArrayBufferView, blobs, nameOfView(value as ArrayBufferView))
  }
  if (isError(value)) return new Tagged(Tag.error, prepare(boxError(value, travels), blobs, depth + 1))
  // An object of another realm (vm, jsdom) is as plain as ours.
  if (Object.getPrototypeOf(prototype) === null && prototype.constructor?.name === 'Object') {
    return prepareRecord(value as Record<string, unknown>, blobs, depth)
  }
  throw refuse(value)
}

/** Can it travel? */
export function travels(value: unknown): boolean {
  try {
    prepare(value, { parts: [] })
    return true
  } catch {
    return false
  }
}

function prepareArray(value: unknown[], blobs: Blobs, depth: number): unknown[] {
  let copy: unknown[] | undefined
  for (let i = 0; i < value.length; i++) {
    const item = value[i]
    const made = prepare(item, blobs, depth + 1)
    if (!Object.is(made, item)) {
      copy ??= value.slice()
      copy[i] = made
    }
  }
  return copy ?? value
}

function prepareRecord(value: Record<string, unknown>, blobs: Blobs, depth: number): object {
  let copy: Record<string, unknown> | undefined
  for (const key in value) {
    const item = value[key]
    if (typeof item === 'string' || typeof item === 'boolean') continue
    if (typeof item === 'number' && (item !== 0 || 1 / item > 0)) continue
    if (!Object.hasOwn(value, key)) continue
    const made = prepare(item, blobs, depth + 1)
    if (made !== item) {
      copy ??= { ...value }
      copy[key] = made
    }
  }
  if (Object.hasOwn(value, '__proto__')) throw new MsgTypeError('has a key named __proto__')
  return copy ?? value
}

function prepareMap(value: Map<unknown, unknown>, blobs: Blobs, depth: number): Map<unknown, unknown> {
  const copy = new Map<unknown, unknown>()
  for (const [key, item] of value) copy.set(prepare(key, blobs, depth + 1), prepare(item, blobs, depth + 1))
  return copy
}

function prepareSet(value: Set<unknown>, blobs: Blobs, depth: number): Set<unknown> {
  const copy = new Set<unknown>()
  for (const item of value) copy.add(prepare(item, blobs, depth + 1))
  return copy
}

type MakeView = (buffer: ArrayBuffer, offset: number, bytes: number) => unknown

const VIEWS: Record<string, MakeView> = {
  Buffer: (buffer, offset, bytes) => Buffer.from(buffer, offset, bytes),
  ArrayBuffer: (buffer, offset, bytes) => buffer.slice(offset, offset + bytes),
  DataView: (buffer, offset, bytes) => new DataView(buffer, offset, bytes),
  Uint8Array: (buffer, offset, bytes) => new Uint8Array(buffer, offset, bytes),
  Int8Array: (buffer, offset, bytes) => new Int8Array(buffer, offset, bytes),
  Uint8ClampedArray: (buffer, offset, bytes) => new Uint8ClampedArray(buffer, offset, bytes),
  Uint16Array: (buffer, offset, bytes) => new Uint16Array(buffer, offset, bytes / 2),
  Int16Array: (buffer, offset, bytes) => new Int16Array(buffer, offset, bytes / 2),
  Uint32Array: (buffer, offset, bytes) => new Uint32Array(buffer, offset, bytes / 4),
  Int32Array: (buffer, offset, bytes) => new Int32Array(buffer, offset, bytes / 4),
  Float32Array: (buffer, offset, bytes) => new Float32Array(buffer, offset, bytes / 4),
  Float64Array: (buffer, offset, bytes) => new Float64Array(buffer, offset, bytes / 8),
  BigInt64Array: (buffer, offset, bytes) => new BigInt64Array(buffer, offset, bytes / 8),
  BigUint64Array: (buffer, offset, bytes) => new BigUint64Array(buffer, offset, bytes / 8),
}

const globals = globalThis as unknown as Record<
  string,
  { new (...args: unknown[]): unknown; prototype: object } | undefined
>
const { Float16Array } = globals
// From Node 24 on.
if (Float16Array) VIEWS.Float16Array = (buffer, offset, bytes) => new Float16Array(buffer, offset, bytes / 2)

/** Prototypes of this realm's own classes: what has another one is an instance of something else. */
const ofClass = new Map<object, Known>()
for (const name of NAMES) ofClass.set((globals[name] as { prototype: object }).prototype, name)
for (const name of Object.keys(VIEWS)) {
  const { prototype } = globals[name] as { prototype: object }
  if (name !== 'ArrayBuffer') ofClass.set(prototype, 'view')
}

/** A `Map` that was made in another realm is as plain as ours, but one that extends `Map` there is not. */
function ofOtherRealm(value: object, prototype: object): Known | undefined {
  const name = prototype.constructor?.name
  if (name === 'Array' && Array.isArray(value) && classesOf(prototype) === 1) return 'Array'
  if (name === undefined || !(Object.hasOwn(VIEWS, name) || NAMES.includes(name as never))) return undefined
  // An environment of tests has put its own in the place of Node's.
  if (name === 'URL') return prototype === globals.URL?.prototype ? name : undefined
  const { types } = process.getBuiltinModule('node:util')
  if (name === 'Map' && types.isMap(value) && classesOf(prototype) === 1) return name
  if (name === 'Set' && types.isSet(value) && classesOf(prototype) === 1) return name
  if (name === 'Date' && types.isDate(value) && classesOf(prototype) === 1) return name
  if (name === 'RegExp' && types.isRegExp(value) && classesOf(prototype) === 1) return name
  if (name === 'ArrayBuffer' && types.isArrayBuffer(value) && classesOf(prototype) === 1) return name
  // Typed arrays have a class in common.
  if (types.isDataView(value) ? classesOf(prototype) === 1 : types.isTypedArray(value) && classesOf(prototype) === 2)
    return 'view'
  return undefined
}

/** How many classes there are between an instance and `Object`. */
function classesOf(prototype: object): number {
  let count = 0
  for (let at = Object.getPrototypeOf(prototype) as object | null; at !== null; at = Object.getPrototypeOf(at)) count++
  return count
}

/** The name that V8 has for it, whatever its class is called. */
function nameOfView(value: ArrayBufferView): string {
  if (Object.getPrototypeOf(value) === Buffer.prototype) return 'Buffer'
  return Object.prototype.toString.call(value).slice(8, -1)
}

/**
 * Small ones are copied into the message, large ones travel beside it: as a copy too, for a sender may fill its buffer anew
 * before the bytes have left, and the receiver would get what is in it then.
 */
function prepareView(value: ArrayBufferView, blobs: Blobs, name: string): Tagged {
  if (!Object.hasOwn(VIEWS, name)) throw refuse(value)
  const bytes = new Uint8Array(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength)
  if (bytes.length < BLOB_BYTES) return new Tagged(Tag.blob, [name, bytes])
  const copy = Buffer.allocUnsafe(bytes.length)
  copy.set(bytes)
  blobs.parts.push(copy)
  return new Tagged(Tag.blob, [name, blobs.parts.length - 1])
}

/** The value that a box stands for. @throws MsgTypeError for a box that nobody of ours has made */
export function unbox(tag: unknown, data: unknown, blobs: readonly Uint8Array[]): unknown {
  switch (tag) {
    case Tag.blob:
      return unboxView(data, blobs)
    case Tag.error:
      return unboxError(data)
    case Tag.custom: {
      const [name, inner] = Array.isArray(data) ? data : []
      const type = typesByName.get(String(name))
      if (!type) throw new MsgTypeError(`a value of the type ${String(name)} came, which is not registered here.`)
      return type.decode(inner)
    }
    case Tag.minusZero:
      return -0
    case Tag.url:
      return new URL(String(data))
    default:
      throw new MsgTypeError(`a box of unknown kind ${String(tag)} came.`)
  }
}

function unboxView(data: unknown, blobs: readonly Uint8Array[]): unknown {
  const [name, content] = Array.isArray(data) ? data : []
  const make = typeof name === 'string' && Object.hasOwn(VIEWS, name) ? VIEWS[name] : undefined
  const bytes = typeof content === 'number' ? blobs[content] : content
  if (!make || !(bytes instanceof Uint8Array)) throw new MsgTypeError('bytes of an unknown kind came.')
  const wide = !/8|Buffer|DataView/.test(name as string)
  // A view of wider items has to begin at a multiple of their size; and small ones must not hold a whole read buffer.
  const own = wide || bytes.length < BLOB_BYTES ? new Uint8Array(bytes) : bytes
  return make(own.buffer as ArrayBuffer, own.byteOffset, own.byteLength)
}

function refuse(value: unknown): MsgTypeError {
  return new MsgTypeError(`is ${describe(value)}, which cannot travel`)
}

function describe(value: unknown): string {
  if (typeof value === 'function') return `the function ${value.name || '(without a name)'}`
  if (typeof value === 'symbol') return 'a symbol'
  const name = (value as { constructor?: { name?: string } }).constructor?.name
  const sort = Object.prototype.toString.call(value).slice(8, -1)
  const base = name && sort !== 'Object' && sort !== name ? `, a class that extends ${sort}` : ''
  return `an instance of ${name || sort}${base}`
}

/** Path to the first value that cannot travel, for the message of the error. */
export function pathOf(value: unknown, path: string, depth = 0): string {
  if (depth > 20 || typeof value !== 'object' || value === null) return path
  const entries: [string, unknown][] =
    value instanceof Map
      ? [...value].map(([key, item]) => [`.get(${String(key)})`, item])
      : value instanceof Set
        ? [...value].map((item, index) => [`[${index}]`, item])
        : Object.entries(value).map(([key, item]) => [Array.isArray(value) ? `[${key}]` : `.${key}`, item])
  const found = entries.find(([, item]) => !travels(item))
  return found ? pathOf(found[1], path + found[0], depth + 1) : path
}
