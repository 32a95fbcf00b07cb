import { thrownText } from '../errors.ts'
import { clearTimer, setTimer } from '../process/clean.ts'
import { monotonic } from '../scope/clock.ts'
import { log } from './log.ts'

type Callback = () => unknown

/** Callbacks for the end of an actor's runtime, last in first out, each once. */
export class LifetimeStack {
  readonly #callbacks: Callback[] = []
  #closing: Promise<void> | undefined

  /**
   * Adds a callback. It runs when the runtime ends in any orderly way, before the actor is unregistered; not on SIGKILL.
   *
   * @example
   * ```ts
   * currentActor().lifetimeStack.push(() => rmSync(folder, { recursive: true }))
   * ```
   */
  push(callback: Callback): void {
    this.#callbacks.push(callback)
  }

  get size(): number {
    return this.#callbacks.length
  }

  /** Runs all of them; one that throws does not stop the others. What they wait for together is bounded by `limitMs`. */
  close(limitMs: number): Promise<void> {
    this.#closing ??= this.#run(limitMs)
    return this.#closing
  }

  async #run(limitMs: number): Promise<void> {
    const until = monotonic() + limitMs
    for (let callback = this.#callbacks.pop(); callback; callback = this.#callbacks.pop()) {
      try {
        const result = callback()
        if (result instanceof Promise && !(await settledWithin(result, until - monotonic()))) {
          log('error', 'a lifetime callback took too long and was given up')
        }
      } catch (error) {
        log('error', `a lifetime callback failed: ${thrownText(error, ({ stack, message }) => stack ?? message)}`)
      }
    }
  }
}

/** True when the promise has settled in time; throws what it was rejected with. */
async function settledWithin(promise: Promise<unknown>, limitMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimer(resolve, Math.max(0, limitMs), false)
  })
  try {
    return await Promise.race([promise.then(() => true), late])
  } finally {
    clearTimer(timer)
  }
}
