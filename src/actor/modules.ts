import { ModuleNotExposed } from '../errors.ts'
import type { Kind } from '../wire/messages.ts'
import { kindOf } from './endpoints.ts'

type Namespace = Record<string, unknown>

/** An exported function, and how it is called. */
export interface Endpoint {
  readonly fn: (...args: unknown[]) => unknown
  readonly kind: Kind
}

/** A module with those of its functions that were called before. */
interface Loaded {
  readonly namespace: Namespace
  readonly known: Map<string, Endpoint>
}

/** The modules that an actor offers, by URL; the first one answers calls that name none. */
export class Modules {
  readonly #import: (url: string) => Promise<Namespace>
  readonly #loaded = new Map<string, Loaded>()
  #first: Loaded | undefined

  constructor(importModule: (url: string) => Promise<Namespace>) {
    this.#import = importModule
  }

  get urls(): string[] {
    return [...this.#loaded.keys()]
  }

  /** Imports and offers modules. @throws what a module throws while it is loaded */
  async expose(urls: readonly string[]): Promise<void> {
    for (const url of urls) {
      const namespace = await this.#import(url)
      const loaded = { namespace, known: new Map<string, Endpoint>() }
      this.#first ??= loaded
      this.#loaded.set(url, loaded)
    }
  }

  /**
   * An exported function.
   *
   * @param module URL, or '' for the first one
   * @throws ModuleNotExposed; TypeError when the module exports no such function
   */
  find(module: string, name: string): Endpoint {
    const loaded = module === '' ? this.#first : this.#loaded.get(module)
    if (loaded === undefined) {
      const offered = this.urls.length > 0 ? `It exposes ${this.urls.join(', ')}.` : 'It exposes none.'
      throw new ModuleNotExposed(`module ${module || '(the first one)'} is not exposed by this actor. ${offered}`)
    }
    const { namespace } = loaded
    const known = loaded.known.get(name)
    // A module may give an export another value later.
    if (known !== undefined && namespace[name] === known.fn) return known
    const value = Object.hasOwn(namespace, name) ? namespace[name] : undefined
    if (typeof value !== 'function') {
      const names = Object.keys(namespace).filter((key) => typeof namespace[key] === 'function')
      throw new TypeError(`${name} is not a function of that module. Its functions: ${names.join(', ') || 'none'}.`)
    }
    const found = { fn: value as Endpoint['fn'], kind: kindOf(value) }
    loaded.known.set(name, found)
    return found
  }
}
