import type { Exit } from './backend.ts'

/** The end of an actor, for any number of waiters, at any time; nobody costs more than an entry in a set. */
export class ExitLatch {
  #exit: Exit | undefined
  readonly #waiters = new Set<(exit: Exit) => void>()

  poll(): Exit | undefined {
    return this.#exit
  }

  settle(exit: Exit): void {
    if (this.#exit) return
    this.#exit = exit
    for (const waiter of [...this.#waiters]) waiter(exit)
    this.#waiters.clear()
  }

  wait(signal?: AbortSignal): Promise<Exit> {
    if (this.#exit) return Promise.resolve(this.#exit)
    if (signal?.aborted) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(done)
        reject(signal?.reason)
      }
      const done = (exit: Exit): void => {
        signal?.removeEventListener('abort', onAbort)
        resolve(exit)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiters.add(done)
    })
  }
}
