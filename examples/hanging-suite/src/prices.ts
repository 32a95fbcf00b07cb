import { Worker } from 'node:worker_threads'

export interface Item {
  count: number
  /** Cents. */
  price: number
}

/** Adds up baskets in a worker thread. */
export class Prices {
  #worker = new Worker(new URL('./price-worker.js', import.meta.url))
  #open = new Map<number, (cents: number) => void>()
  #lastId = 0

  constructor() {
    this.#worker.on('message', ({ id, cents }: { id: number; cents: number }) => {
      this.#open.get(id)?.(cents)
      this.#open.delete(id)
    })
  }

  total(basket: Item[]): Promise<number> {
    const id = ++this.#lastId
    return new Promise((resolve) => {
      this.#open.set(id, resolve)
      this.#worker.postMessage({ id, basket })
    })
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
  }
}

/** An exchange rate that arrives a little after it was asked for. */
export class ExchangeRate {
  value: number | undefined

  refresh(): void {
    setTimeout(() => {
      this.value = 1.08
    }, 20)
  }
}
