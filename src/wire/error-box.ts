/** Errors as plain data, and back: no class, name or code is lost on the way. */

import type { ErrorClass } from '../errors.ts'
import * as errors from '../errors.ts'

/** An error as it travels inside a value, or as the heart of a `WireError`. */
export interface ErrorBox {
  type: string
  message: string
  stack: string
  code?: unknown
  /** Own enumerable properties that can travel. */
  props?: Record<string, unknown>
  cause?: unknown
  hasCause?: true
  /** Members of a group. */
  members?: unknown[]
}

const registered = new Map<string, ErrorClass>()

const BUILT_IN: readonly ErrorClass[] = [
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  EvalError,
  URIError,
  AggregateError,
]

/**
 * Makes error classes known, so that `boxedType` names them and `unwrap()` rebuilds them; call it in both actors.
 *
 * @example
 * ```ts
 * import { registerErrorTypes } from 'harrow'
 *
 * export class OutOfStock extends Error {}
 * registerErrorTypes([OutOfStock])
 * ```
 */
export function registerErrorTypes(classes: readonly ErrorClass[]): void {
  for (const Class of classes) {
    if (typeof Class !== 'function' || !(Class.prototype instanceof Error)) {
      throw new TypeError(`registerErrorTypes() expects classes of errors, got ${String(Class)}.`)
    }
    registered.set(Class.name, Class)
  }
}

/** The class of that name: a built-in one, one of harrow's, or a registered one. */
export function errorClass(name: string): ErrorClass | null {
  const builtIn = BUILT_IN.find((Class) => Class.name === name)
  if (builtIn) return builtIn
  const own = Object.hasOwn(errors, name) ? (errors as Record<string, unknown>)[name] : undefined
  if (typeof own === 'function' && own.prototype instanceof Error) return own as ErrorClass
  return registered.get(name) ?? null
}

const MOST_TEXT = 64 * 1024
const MOST_MEMBERS = 100
/** A text that is too long for a message of its own is cut, and says so. */
export const cut = (text: unknown): string => {
  const string = typeof text === 'string' ? text : errors.thrownText(text)
  return string.length > MOST_TEXT ? `${string.slice(0, MOST_TEXT)}… (cut: ${string.length} characters)` : string
}

/** An error of this realm or of another (`vm`). */
export const isError = (value: unknown): value is Error =>
  value instanceof Error || Object.prototype.toString.call(value) === '[object Error]'

/** Class name of an error, by its constructor where that says more than `name`. */
export function typeName(error: Error): string {
  const own = error.constructor?.name
  return own && own !== 'Error' ? own : error.name || 'Error'
}

/** `travels` of values.ts, which needs this file. */
export type Travels = (value: unknown) => boolean

/** Never throws: an error with getters that do is told as far as it can. */
export function boxError(error: Error, travels: Travels, depth = 0): ErrorBox {
  const box: ErrorBox = { type: 'Error', message: '', stack: '' }
  attempt(() => {
    box.type = cut(typeName(error))
  })
  attempt(() => {
    box.message = cut(error.message)
  })
  attempt(() => {
    box.stack = cut(error.stack ?? '')
  })
  attempt(() => {
    const { code } = error as { code?: unknown }
    if (typeof code === 'string' || typeof code === 'number') box.code = code
  })
  attempt(() => {
    const props = plainProps(error, travels)
    if (Object.keys(props).length > 0) box.props = props
  })
  attempt(() => {
    if (!Object.hasOwn(error, 'cause') || depth > 4) return
    box.hasCause = true
    box.cause = boxAny(error.cause, travels, depth + 1)
  })
  attempt(() => {
    if (Array.isArray((error as { errors?: unknown }).errors) && depth <= 4) {
      box.members = (error as AggregateError).errors
        .slice(0, MOST_MEMBERS)
        .map((one) => boxAny(one, travels, depth + 1))
    }
  })
  return box
}

/** A thrown value that may be anything. */
export function boxAny(value: unknown, travels: Travels, depth = 0): unknown {
  if (isError(value)) return { error: boxError(value, travels, depth) }
  return canTravel(value, travels) ? { value } : { value: errors.thrownText(value) }
}

export function unboxAny(box: unknown): unknown {
  const { error, value } = (box ?? {}) as { error?: unknown; value?: unknown }
  return error === undefined ? value : unboxError(error)
}

const SKIPPED = new Set(['name', 'message', 'stack', 'cause', 'errors', 'code'])

function plainProps(error: Error, travels: Travels): Record<string, unknown> {
  const props: Record<string, unknown> = {}
  for (const key of Object.keys(error)) {
    if (SKIPPED.has(key) || key === '__proto__') continue
    const value = (error as unknown as Record<string, unknown>)[key]
    if (canTravel(value, travels)) props[key] = value
  }
  return props
}

/** One property that cannot travel, however deep, would keep the whole error from it. */
function canTravel(value: unknown, travels: Travels): boolean {
  if (value === null || ['string', 'number', 'boolean', 'undefined', 'bigint'].includes(typeof value)) return true
  if (typeof value !== 'object') return false
  try {
    return JSON.stringify(value).length < MOST_TEXT && travels(value)
  } catch {
    return false
  }
}

function attempt(step: () => void): void {
  try {
    step()
  } catch {
    // A hostile getter: the rest of the error still travels.
  }
}

/** Rebuilds an error: of its class when that is known, and never through more of its constructor than the error needs. */
export function unboxError(data: unknown): Error {
  const box = (typeof data === 'object' && data !== null ? data : {}) as Partial<ErrorBox>
  const type = String(box.type ?? 'Error')
  const Class = errorClass(type)
  const error = make(Class, box)
  define(error, 'message', String(box.message ?? ''))
  define(error, 'stack', String(box.stack ?? ''))
  if (Class === null) define(error, 'name', type)
  if (box.code !== undefined) define(error, 'code', box.code)
  if (box.hasCause) define(error, 'cause', unboxAny(box.cause))
  if (Array.isArray(box.members)) define(error, 'errors', box.members.map(unboxAny))
  for (const [key, value] of Object.entries(box.props ?? {})) {
    if (!SKIPPED.has(key)) define(error, key, value, true)
  }
  return error
}

/** An object of the class, without running the constructor of a class that is not the language's own. */
function make(Class: ErrorClass | null, { message, members }: Partial<ErrorBox>): Error {
  if (Class === null) return Array.isArray(members) ? new AggregateError([]) : new Error(String(message ?? ''))
  const base =
    Class === AggregateError || Class.prototype instanceof AggregateError ? new AggregateError([]) : new Error('')
  return Object.setPrototypeOf(base, Class.prototype as object) as Error
}

function define(target: object, key: string, value: unknown, enumerable = false): void {
  Object.defineProperty(target, key, { value, enumerable, writable: true, configurable: true })
}
