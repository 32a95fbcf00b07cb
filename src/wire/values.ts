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

/** From this size on, bytes go beside the message instead of through the encoder. */
const BLOB_BYTES = 2048
const MOST_DEPTH = 100
const plain = Object.prototype

/** What a walk collects beside the value. */
export interface Blobs {
  parts: Uint8Array[]
}

/** @throws MsgTypeError; its path is made by {@link pathOf}, which only a failure pays for */
export function prepare(value: unknown, blobs: Blobs, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
    case 'number':
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
  if (Array.isArray(value)) return prepareArray(value, blobs, depth)
  const prototype = Object.getPrototypeOf(value) as unknown
  if (prototype === plain || prototype === null) return prepareRecord(value as Record<string, unknown>, blobs, depth)
  if (ArrayBuffer.isView(value)) return prepareView(value, blobs)
  if (value instanceof Date || value instanceof RegExp) return value
  if (value instanceof Map) return prepareMap(value, blobs, depth)
  if (value instanceof Set) return prepareSet(value, blobs, depth)
  if (value instanceof ArrayBuffer) return prepareView(new Uint8Array(value), blobs, 'ArrayBuffer')
  const type = typesByClass.get((value as { constructor?: unknown }).constructor)
  if (type) return new Tagged(Tag.custom, [type.name, prepare(type.encode(value), blobs, depth + 1)])
  if (isError(value)) return new Tagged(Tag.error, prepare(boxError(value), blobs, depth + 1))
  if (value instanceof URL) return new Tagged(Tag.url, value.href)
  // An object of another realm (vm, jsdom) is as plain as ours.
  if (
    Object.getPrototypeOf(prototype) === null &&
    (prototype as { constructor?: { name?: string } }).constructor?.name === 'Object'
  ) {
    return prepareRecord(value as Record<string, unknown>, blobs, depth)
  }
  throw refuse(value)
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
    if (typeof item === 'string' || typeof item === 'number' || typeof item === 'boolean') continue
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

const VIEWS: Record<string, (buffer: ArrayBuffer, offset: number, bytes: number) => unknown> = {
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

/**
 * Small ones are copied into the message, large ones travel beside it: as a copy too, for a sender may fill its buffer anew
 * before the bytes have left, and the receiver would get what is in it then.
 */
function prepareView(value: ArrayBufferView, blobs: Blobs, as?: string): Tagged {
  const name = as ?? (Buffer.isBuffer(value) ? 'Buffer' : value.constructor.name)
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
  const name = (value as { constructor?: { name?: string } }).constructor?.name ?? 'an unknown class'
  return `an instance of ${name}`
}

/** Path to the first value that cannot travel, for the message of the error. */
export function pathOf(value: unknown, path: string, depth = 0): string {
  const bad = (one: unknown): boolean => {
    try {
      prepare(one, { parts: [] })
      return false
    } catch {
      return true
    }
  }
  if (depth > 20 || typeof value !== 'object' || value === null) return path
  const entries: [string, unknown][] =
    value instanceof Map
      ? [...value].map(([key, item]) => [`.get(${String(key)})`, item])
      : value instanceof Set
        ? [...value].map((item, index) => [`[${index}]`, item])
        : Object.entries(value).map(([key, item]) => [Array.isArray(value) ? `[${key}]` : `.${key}`, item])
  const found = entries.find(([, item]) => bad(item))
  return found ? pathOf(found[1], path + found[0], depth + 1) : path
}
