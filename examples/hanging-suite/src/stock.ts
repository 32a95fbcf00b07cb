import { Lock } from './lock.ts'

/** How many pieces of each product are free. Changes go through one lock. */
export class Stock {
  #free: Map<string, number>
  #lock = new Lock()

  constructor(free: Record<string, number>) {
    this.#free = new Map(Object.entries(free))
  }

  free(sku: string): number {
    return this.#free.get(sku) ?? 0
  }

  async reserve(sku: string, count: number): Promise<void> {
    const release = await this.#lock.acquire()
    try {
      if (this.free(sku) < count) throw new Error(`only ${this.free(sku)} of ${sku} left`)
      this.#free.set(sku, this.free(sku) - count)
    } finally {
      release()
    }
  }

  /** Gives `count` of one product back and reserves the same number of another. */
  async move(from: string, to: string, count: number): Promise<void> {
    const release = await this.#lock.acquire()
    try {
      this.#free.set(from, this.free(from) + count)
      await this.reserve(to, count)
    } finally {
      release()
    }
  }
}
