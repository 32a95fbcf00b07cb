import { EventEmitter } from 'node:events'

/** The products on sale. Emits `ready` once, when they are loaded. */
export class Catalogue extends EventEmitter {
  readonly products: string[] = []

  async load(source: () => Promise<string[]>): Promise<void> {
    this.products.push(...(await source()))
    this.emit('ready')
  }
}
