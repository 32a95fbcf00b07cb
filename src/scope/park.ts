/** The only way to wait: with a reason, and cancellable. */
import type { CancelledError } from '../errors.ts'
import { clearTimer, monotonic, startTimer } from './clock.ts'
import { checkMs } from './limits.ts'
import type { Wait } from './reasons.ts'
import { current, currentScope, hold, type Scope } from './scope.ts'
import { type OpenWait, type Task, taskOf } from './task.ts'

/** Called when the wait is given up because of a cancellation. A promise that it gives holds the rejection back. */
export type Disarm = () => unknown

/**
 * Waits until `arm`'s callbacks are called, or the scope is cancelled (R-002).
 *
 * @param wait what for; it stands in dumps
 * @param arm starts whatever will end the wait. What it returns is called on cancellation; when that gives a promise, the
 * rejection comes only after it, so it must be bounded
 * @throws the reason of the scope, at once when it is cancelled already
 * @example
 * ```ts
 * import { park } from 'harrow'
 * import { once } from 'node:events'
 * import { createServer } from 'node:net'
 *
 * const server = createServer().listen(0)
 * await park({ reason: 'event', on: "'listening' of a server" }, (resolve) => {
 *   server.once('listening', resolve)
 *   return () => server.off('listening', resolve)
 * })
 * ```
 */
export function park<T = void>(
  wait: Wait,
  arm: (resolve: (value: T) => void, reject: (error: unknown) => void) => unknown,
): Promise<T> {
  const scope = currentScope()
  if (scope.reason !== undefined) return Promise.reject(scope.reason)
  return new Promise<T>((resolve, reject) => {
    const parked = new Parked<T>(scope, wait, resolve, reject)
    try {
      const disarm = arm(parked.succeed, parked.fail)
      if (typeof disarm === 'function') parked.disarm = disarm as Disarm
    } catch (error) {
      parked.fail(error)
    }
  })
}

class Parked<T> {
  disarm: Disarm | undefined
  readonly #scope: Scope
  readonly #task: Task | undefined
  readonly #wait: OpenWait
  readonly #resolve: (value: T) => void
  readonly #reject: (error: unknown) => void
  #over = false

  constructor(scope: Scope, wait: Wait, resolve: (value: T) => void, reject: (error: unknown) => void) {
    this.#scope = scope
    this.#resolve = resolve
    this.#reject = reject
    this.#wait = { reason: wait.reason, on: wait.on, by: wait.by, since: monotonic() }
    this.#task = taskOf(scope)
    this.#task?.waits.push(this.#wait)
    scope.addCallback(this.#cancelled)
  }

  readonly succeed = (value: T): void => {
    if (this.#leave()) this.#resolve(value)
  }

  readonly fail = (error: unknown): void => {
    if (this.#leave()) this.#reject(error)
  }

  #leave(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#scope.dropCallback(this.#cancelled)
    const waits = this.#task?.waits
    if (waits) {
      const at = waits.lastIndexOf(this.#wait)
      if (at >= 0) waits.splice(at, 1)
    }
    return true
  }

  readonly #cancelled = (reason: CancelledError): void => {
    if (!this.#leave()) return
    let held: unknown
    try {
      held = this.disarm?.()
    } catch {
      // Giving up a wait cannot fail: nobody is left to hear of it.
    }
    if (!(held instanceof Promise)) {
      this.#reject(reason)
      return
    }
    const release = hold(this.#scope)
    const go = (): void => {
      release()
      this.#reject(reason)
    }
    held.then(go, go)
  }
}

/** Waits for a promise, cancellably; the promise itself goes on. */
export function parkOn<T>(wait: Wait, promise: PromiseLike<T>): Promise<T> {
  return park<T>(wait, (resolve, reject) => {
    promise.then(resolve, reject)
  })
}

/** A place at which a task can be cancelled: throws when its scope is, and lets others run. */
export async function checkpoint(): Promise<void> {
  currentScope().throwIfCancelled()
  await undefined
  currentScope().throwIfCancelled()
}

/**
 * Waits so many milliseconds; keeps the process alive meanwhile.
 *
 * @throws UsageError for anything but a finite number from 0 up; the reason of the scope when it is cancelled
 */
export function sleep(ms: number): Promise<void> {
  const delay = checkMs('sleep()', ms)
  return park({ reason: 'timer', on: `${ms} ms` }, (resolve) => {
    const timer = startTimer(resolve, delay)
    return () => clearTimer(timer)
  })
}

/** Waits until the scope is cancelled. */
export function sleepForever(): Promise<never> {
  return park<never>({ reason: 'event', on: 'cancellation' }, () => {
    // Something has to keep the process there.
    const timer = setInterval(() => {}, 2 ** 30)
    return () => clearInterval(timer)
  })
}

/** @internal runs in a scope */
export function inScope<T>(scope: Scope, body: (scope: Scope) => T): T {
  return current.run(scope, body, scope)
}
