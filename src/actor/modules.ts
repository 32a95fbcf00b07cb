import { ModuleNotExposed } from '../errors.ts'

type Namespace = Record<string, unknown>

/** The modules that an actor offers, by URL; the first one answers calls that name none. */
export class Modules {
  readonly #import: (url: string) => Promise<Namespace>
  readonly #loaded = new Map<string, Namespace>()
  #first: Namespace | undefined

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
      this.#first ??= namespace
      this.#loaded.set(url, namespace)
    }
  }

  /**
   * An exported function.
   *
   * @param module URL, or '' for the first one
   * @throws ModuleNotExposed; TypeError when the module exports no such function
   */
  find(module: string, name: string): (...args: unknown[]) => unknown {
    const namespace = module === '' ? this.#first : this.#loaded.get(module)
    if (namespace === undefined) {
      const offered = this.urls.length > 0 ? `It exposes ${this.urls.join(', ')}.` : 'It exposes none.'
      throw new ModuleNotExposed(`module ${module || '(the first one)'} is not exposed by this actor. ${offered}`)
    }
    const value = Object.hasOwn(namespace, name) ? namespace[name] : undefined
    if (typeof value !== 'function') {
      const names = Object.keys(namespace).filter((key) => typeof namespace[key] === 'function')
      throw new TypeError(`${name} is not a function of that module. Its functions: ${names.join(', ') || 'none'}.`)
    }
    return value as (...args: unknown[]) => unknown
  }
}
