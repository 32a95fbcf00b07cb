/** What a module offers to other actors, and what its types say of it. */
import type { Kind } from '../wire/messages.ts'
import type { Context } from './context.ts'

const KIND: unique symbol = Symbol.for('harrow.kind') as never

/** A function that was marked by {@link context}. */
export interface ContextEndpoint<Args extends unknown[], First, Out, In, Result> {
  (ctx: Context<First, Out, In, Result>, ...args: Args): Promise<Result>
  readonly [KIND]: 'context'
}

/**
 * Marks a function as the far side of a context: it is called with its end of the dialog, tells the first value by
 * `ctx.started(value)`, may open a stream, and its return value is the result.
 *
 * @param fn an async function; the first parameter is the context
 * @returns the same function
 * @throws TypeError when it is no async function
 * @example
 * ```ts
 * import { context, type Context } from 'harrow'
 *
 * export const counter = context(async (ctx: Context<number, number>, upTo: number) => {
 *   ctx.started(upTo)
 *   await ctx.openStream(async (stream) => {
 *     for (let n = 0; n < upTo; n++) await stream.send(n)
 *   })
 *   return 'done'
 * })
 * ```
 */
export function context<Args extends unknown[], First = undefined, Out = unknown, In = unknown, Result = unknown>(
  fn: (ctx: Context<First, Out, In, Result>, ...args: Args) => Promise<Result>,
): ContextEndpoint<Args, First, Out, In, Result> {
  if (shapeOf(fn) !== 'async') {
    throw new TypeError(`context() expects an async function, got ${describe(fn)}.`)
  }
  return Object.defineProperty(fn, KIND, { value: 'context' }) as never
}

/** How an exported function is called. */
export function kindOf(fn: object): Kind {
  if ((fn as { [KIND]?: unknown })[KIND] === 'context') return 'context'
  return shapeOf(fn) === 'generator' ? 'generator' : 'func'
}

/** The sort of function: by the intrinsic that its kind of syntax makes, whatever realm it comes from. */
export function shapeOf(fn: unknown): 'async' | 'generator' | 'sync-generator' | 'plain' | 'none' {
  if (typeof fn !== 'function') return 'none'
  switch (Object.prototype.toString.call(fn)) {
    case '[object AsyncFunction]':
      return 'async'
    case '[object AsyncGeneratorFunction]':
      return 'generator'
    case '[object GeneratorFunction]':
      return 'sync-generator'
    default:
      return 'plain'
  }
}

export function describe(fn: unknown): string {
  const shape = shapeOf(fn)
  if (shape === 'none') return fn === null ? 'null' : typeof fn
  const name = (fn as { name: string }).name || 'without a name'
  const words = { async: 'the async function', generator: 'the async generator', 'sync-generator': 'the generator' }
  return `${shape === 'plain' ? 'the plain function' : words[shape]} ${name}`
}

// ---- types

/** Values that have no form on the wire; looked for some levels deep. */
type Unsendable<T, Depth extends unknown[] = []> = 0 extends 1 & T
  ? false
  : unknown extends T
    ? false
    : T extends ((...args: never[]) => unknown) | symbol | WeakKey_ | Promise<unknown>
      ? true
      : Depth['length'] extends 3
        ? false
        : T extends string | number | bigint | boolean | null | undefined | Date | RegExp | ArrayBufferView | Error
          ? false
          : T extends readonly (infer Item)[]
            ? Unsendable<Item, [...Depth, 0]>
            : T extends object
              ? true extends { [K in keyof T]-?: Unsendable<T[K], [...Depth, 0]> }[keyof T]
                ? true
                : false
              : false
type WeakKey_ = WeakMap<WeakKey, unknown> | WeakSet<WeakKey> | WeakRef<WeakKey>

type Sendable<Args extends readonly unknown[]> = true extends Unsendable<Args[number]> ? false : true

/** Names of the functions of a module that `portal.call` takes, with their parameters and results. */
export type Calls<M> = {
  [K in keyof M as M[K] extends ContextEndpoint<never, never, never, never, never>
    ? never
    : M[K] extends { readonly [KIND]: 'context' }
      ? never
      : M[K] extends (...args: infer A) => infer R
        ? R extends AsyncGenerator
          ? never
          : Sendable<A> extends true
            ? K
            : never
        : never]: M[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never
}

/** Contexts of a module, for `portal.openContext`. */
export type Contexts<M> = {
  [K in keyof M as M[K] extends { readonly [KIND]: 'context' } ? K : never]: M[K] extends ContextEndpoint<
    infer Args,
    infer First,
    infer Out,
    infer In,
    infer Result
  >
    ? { args: Args; first: First; out: Out; in: In; result: Result }
    : never
}

/** Async generators of a module, for `portal.openStreamFrom`. */
export type Generators<M> = {
  [K in keyof M as M[K] extends (...args: infer _A) => AsyncGenerator ? K : never]: M[K] extends (
    ...args: infer A
  ) => AsyncGenerator<infer Item>
    ? { args: A; item: Item }
    : never
}
