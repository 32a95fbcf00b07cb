import { syncBuiltinESMExports } from 'node:module'

// Clean copies: user code may replace any of these later.
const { apply, construct } = Reflect
const {
  defineProperties,
  defineProperty,
  getOwnPropertyDescriptor,
  getOwnPropertyDescriptors,
  getPrototypeOf,
  setPrototypeOf,
} = Object

/** Any function that is not called with `new`. */
export type Callable = (this: unknown, ...args: unknown[]) => unknown
type Constructor = new (...args: unknown[]) => object

/**
 * Replaces functions of Node by ones that behave the same and tell of their calls. A replaced function has the name, length
 * and properties of the original; named ESM imports see it after {@link Patches.publish}.
 */
export class Patches {
  readonly #undo: (() => void)[] = []
  #on = true

  /** False after {@link Patches.undo}: replacements that could not be taken back only pass through. */
  get on(): boolean {
    return this.#on
  }

  /**
   * Replaces a function everywhere it is found under `name`.
   *
   * @param owners objects that carry it; those that carry another function, or none, are left alone
   * @param around does the call: gets `call()`, which runs the original, the arguments, `this` and the replacement (for
   * leaving it out of stacks)
   */
  wrap(
    owners: readonly object[],
    name: string,
    around: (original: Callable, self: unknown, args: unknown[], wrapper: Callable) => unknown,
  ): void {
    const original: unknown = getOwnPropertyDescriptor(owners[0]!, name)?.value
    if (typeof original !== 'function') return
    const patches = this
    // A method: it cannot be called with `new`, like most built-in functions.
    const holder = {
      wrapper(this: unknown, ...args: unknown[]): unknown {
        if (!patches.#on) return apply(original, this, args)
        return around(original as Callable, this, args, holder.wrapper)
      },
    }
    setPrototypeOf(holder.wrapper, getPrototypeOf(original))
    defineProperties(holder.wrapper, getOwnPropertyDescriptors(original))
    for (const owner of owners) this.#replace(owner, name, original, holder.wrapper)
  }

  /** Replaces a class; `made` is told of each instance, those of subclasses included. */
  wrapClass(
    owners: readonly object[],
    name: string,
    made: (thing: object, args: unknown[], trap: Callable) => void,
  ): void {
    const original: unknown = getOwnPropertyDescriptor(owners[0]!, name)?.value
    if (typeof original !== 'function') return
    const patches = this
    const handler = {
      construct(target: Constructor, args: unknown[], newTarget: Constructor): object {
        const thing = construct(target, args, newTarget === proxy ? target : newTarget) as object
        if (patches.#on) made(thing, args, handler.construct as unknown as Callable)
        return thing
      },
    }
    const proxy: Constructor = new Proxy(original as Constructor, handler as ProxyHandler<Constructor>)
    for (const owner of owners) this.#replace(owner, name, original, proxy)
  }

  #replace(owner: object, name: string, original: unknown, by: unknown): void {
    const property = getOwnPropertyDescriptor(owner, name)
    if (property?.value !== original || !property?.configurable) return
    defineProperty(owner, name, { ...property, value: by })
    this.#undo.push(() => {
      if (getOwnPropertyDescriptor(owner, name)?.value === by) defineProperty(owner, name, property)
    })
  }

  /** Lets named ESM imports of Node's modules see the replacements. */
  publish(): void {
    syncBuiltinESMExports()
  }

  /** Puts the originals back, except where someone else has replaced them since. */
  undo(): void {
    if (!this.#on) return
    this.#on = false
    for (const restore of this.#undo.splice(0).reverse()) restore()
    syncBuiltinESMExports()
  }
}
