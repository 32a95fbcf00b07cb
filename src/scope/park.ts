/** The only way to wait: with a reason, and cancellable. */

import type { CancelledError } from '../errors.ts'
import { clearTick, setTick } from '../process/clean.ts'
import { clearTimer, monotonic, startTimer } from './clock.ts'
import { checkMs } from './limits.ts'
import type { Wait, WaitReason } from './reasons.ts'
import { current, currentScope, hold, type Listener, type Scope } from './scope.ts'
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
    const parked = new ParkedUntil<T>(scope, wait.reason, wait.on, wait.by, resolve, reject)
    try {
      const disarm = arm(
        (value) => parked.succeed(value),
        (error) => parked.fail(error),
      )
      if (typeof disarm === 'function') parked.disarmer = disarm as Disarm
    } catch (error) {
      parked.fail(error)
    }
  })
}

/** One wait: what it is for, how it ends. What every call of an actor costs has this in it, so it is one object. @internal */
export class Parked<T> implements Listener, OpenWait {
  previous: Listener | undefined = undefined
  next: Listener | undefined = undefined
  listensTo: Scope | undefined = undefined
  readonly reason: WaitReason
  readonly on: string | undefined
  readonly by: string | undefined
  readonly since: number
  readonly #task: Task | undefined
  readonly #resolve: (value: T) => void
  readonly #reject: (error: unknown) => void

  /** @param scope one that is not cancelled */
  constructor(
    scope: Scope,
    reason: WaitReason,
    on: string | undefined,
    by: string | undefined,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    this.reason = reason
    this.on = on
    this.by = by
    this.since = monotonic()
    this.#resolve = resolve
    this.#reject = reject
    const task = taskOf(scope)
    this.#task = task
    if (task !== undefined) {
      if (task.waits === undefined) task.waits = [this]
      else task.waits.push(this)
    }
    scope.add(this)
  }

  succeed(value: T): void {
    if (this.#leave()) this.#resolve(value)
  }

  fail(error: unknown): void {
    if (this.#leave()) this.#reject(error)
  }

  /** Called when the wait is given up; see {@link Disarm}. */
  disarm(): unknown {
    return undefined
  }

  #leave(): boolean {
    const scope = this.listensTo
    if (scope !== undefined) scope.drop(this)
    else if (!this.#telling) return false
    this.#telling = false
    const waits = this.#task?.waits
    if (waits !== undefined) {
      // Answers to many calls at once come in the order of the calls.
      if (waits[0] === this) waits.shift()
      else if (waits.at(-1) === this) waits.pop()
      else {
        const at = waits.lastIndexOf(this)
        if (at >= 0) waits.splice(at, 1)
      }
    }
    return true
  }

  #telling = false

  told(reason: CancelledError, scope: Scope): void {
    this.#telling = true
    this.#leave()
    let held: unknown
    try {
      held = this.disarm()
    } catch {
      // Giving up a wait cannot fail: nobody is left to hear of it.
    }
    if (!(held instanceof Promise)) {
      this.#reject(reason)
      return
    }
    const release = hold(scope)
    const go = (): void => {
      release()
      this.#reject(reason)
    }
    held.then(go, go)
  }
}

/** A wait that is ended by callbacks. */
class ParkedUntil<T> extends Parked<T> {
  disarmer: Disarm | undefined = undefined

  override disarm(): unknown {
    return this.disarmer?.()
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
  const delay = checkMs('sleep()', ms, 'sleepForever() waits for the cancellation.')
  return park({ reason: 'timer', on: `${ms} ms` }, (resolve) => {
    const timer = startTimer(resolve, delay)
    return () => clearTimer(timer)
  })
}

/** Waits until the scope is cancelled. */
export function sleepForever(): Promise<never> {
  return park<never>({ reason: 'event', on: 'cancellation' }, () => {
    // Something has to keep the process there.
    const timer = setTick(() => {}, 2 ** 30)
    return () => clearTick(timer)
  })
}

/** @internal runs in a scope */
export function inScope<T>(scope: Scope, body: (scope: Scope) => T): T {
  return current.run(scope, body, scope)
}
