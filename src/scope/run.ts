/** Code in a scope of its own: with a deadline, behind a shield, under an `AbortSignal`. */
import { CancelledError, TimeoutError } from '../errors.ts'
import { checkMs, checkSignal, scopeLimits } from './limits.ts'
import { current, currentScope, hold, Scope } from './scope.ts'
import { afterGrace, giveUp, taskOf } from './task.ts'

export interface ScopeOptions {
  /** For dumps and messages. */
  name?: string
  /** It is cancelled after so many milliseconds. */
  limitMs?: number
  /** Its abort cancels the scope. */
  signal?: AbortSignal
}

/** Limits of a scope that have been checked: what is wrong must throw before there is a scope that hangs below its parent. */
interface Limits {
  limitMs?: number
  signal?: AbortSignal
}

/** What became of a scope: `cancelled` when it took its own cancellation in. */
type Outcome<T> = { value: T } | { cancelled: CancelledError }

/**
 * Runs `body` in a scope of its own, which it gets. When that very scope is cancelled, its cancellation ends here, and the
 * result is undefined; everything else goes through.
 *
 * A body that does not react within `taskGrace` (500 ms) is given up: the scope is left, and the body's later end is nobody's
 * business.
 *
 * @throws UsageError for a limit or a signal that is none
 * @example
 * ```ts
 * import { runScope, sleep } from 'harrow'
 *
 * await runScope({ name: 'poll', limitMs: 5000 }, async (scope) => {
 *   for (;;) {
 *     const answer = await fetch('http://127.0.0.1:8080/ready', { signal: scope.signal }).catch(() => undefined)
 *     if (answer?.ok) scope.cancel('it is there')
 *     await sleep(100)
 *   }
 * })
 * ```
 */
export async function runScope<T>(options: ScopeOptions, body: (scope: Scope) => Promise<T>): Promise<T | undefined> {
  const outer = currentScope()
  const limits: Limits = {
    ...(options.limitMs !== undefined && { limitMs: checkMs('runScope({ limitMs })', options.limitMs, NO_LIMIT) }),
    ...(options.signal !== undefined && { signal: checkSignal('runScope({ signal })', options.signal) }),
  }
  const outcome = await runIn(new Scope(outer, options.name ?? 'scope', outer), limits, body)
  return 'value' in outcome ? outcome.value : undefined
}

const NO_LIMIT = 'For no limit leave it out: runScope({}, body).'

/** What became of a time limit. */
export type Moved<T> = { timedOut: false; value: T } | { timedOut: true; value?: undefined }

/**
 * Runs `body` for at most so long; then it is cancelled, and the program goes on.
 *
 * @param ms the limit
 * @throws what the body throws; never for the limit
 */
export async function moveOnAfter<T>(ms: number, body: (scope: Scope) => Promise<T>): Promise<Moved<T>> {
  const outer = currentScope()
  const limitMs = checkMs('moveOnAfter()', ms, NO_LIMIT)
  const outcome = await runIn(new Scope(outer, `limit of ${ms} ms`, outer), { limitMs }, body)
  return 'value' in outcome ? { timedOut: false, value: outcome.value } : { timedOut: true }
}

/**
 * The same, but passing the limit is an error.
 *
 * @param options.what names the work in the message
 * @throws TimeoutError when the limit passes
 */
export async function failAfter<T>(
  ms: number,
  body: (scope: Scope) => Promise<T>,
  options: { what?: string } = {},
): Promise<T> {
  const outer = currentScope()
  const limitMs = checkMs('failAfter()', ms, NO_LIMIT)
  const what = options.what ?? 'the work'
  const outcome = await runIn(new Scope(outer, what, outer), { limitMs }, body)
  if ('value' in outcome) return outcome.value
  throw new TimeoutError(what, ms, { cause: outcome.cancelled })
}

/**
 * Runs `body` where no cancellation from outside reaches it, for at most so long: for what must be done on the way out. There
 * is no shield without a bound.
 *
 * @param boundMs mandatory
 * @param what names the work in the message
 * @throws TimeoutError when the bound passes; the work is cancelled then
 * @example
 * ```ts
 * import { shield, sleep } from 'harrow'
 *
 * try {
 *   await sleep(1000)
 * } finally {
 *   await shield(500, 'saying goodbye', () => sleep(10))
 * }
 * ```
 */
export async function shield<T>(boundMs: number, what: string, body: (scope: Scope) => Promise<T>): Promise<T> {
  const limitMs = checkMs('shield()', boundMs, 'A shield without a bound would let nobody end it.')
  const scope = currentScope().shieldedChild(what)
  const release = hold(currentScope())
  try {
    const outcome = await runIn(scope, { limitMs }, body)
    if ('value' in outcome) return outcome.value
    throw new TimeoutError(what, boundMs, { cause: outcome.cancelled })
  } finally {
    release()
  }
}

/**
 * Runs `body` with a cleanup that cannot take the place of its error: the cleanup runs behind a shield, and what it throws
 * only counts when the body has thrown nothing. A `finally` that waits in a cancelled scope throws the cancellation
 * instead, and JavaScript forgets the error.
 *
 * @param boundMs for the cleanup
 */
export async function withCleanup<T>(
  boundMs: number,
  body: () => Promise<T>,
  cleanup: () => Promise<unknown>,
): Promise<T> {
  let value: T
  try {
    value = await body()
  } catch (error) {
    await shield(boundMs, 'cleanup', cleanup).catch(() => {})
    throw error
  }
  await shield(boundMs, 'cleanup', cleanup)
  return value
}

/**
 * Runs `body` in a scope that an `AbortSignal` cancels.
 *
 * @throws the signal's reason when it was aborted, as `fetch` would
 */
export async function withSignal<T>(signal: AbortSignal, body: (scope: Scope) => Promise<T>): Promise<T> {
  checkSignal('withSignal()', signal).throwIfAborted()
  const outer = currentScope()
  const outcome = await runIn(new Scope(outer, 'signal', outer), { signal }, body)
  if ('value' in outcome) return outcome.value
  throw signal.aborted ? signal.reason : outcome.cancelled
}

/**
 * Runs `body` in a scope without a parent: no cancellation reaches it but its own.
 *
 * @param options.host what everything below belongs to
 * @param options.parent a scope to hang it below instead
 */
export async function runDetached<T>(
  options: { name: string; host?: unknown; parent?: Scope },
  body: (scope: Scope) => Promise<T>,
): Promise<T> {
  // Whoever waits for it from outside has to know when it is in an end that is bounded by itself.
  const scope = new Scope(options.parent ?? null, options.name, options.parent ?? current.getStore() ?? null)
  if (options.host !== undefined) scope.setHost(options.host)
  try {
    return await current.run(scope, body, scope)
  } finally {
    scope.leave()
  }
}

async function runIn<T>(scope: Scope, limits: Limits, body: (scope: Scope) => Promise<T>): Promise<Outcome<T>> {
  const { signal, limitMs } = limits
  const onAbort = (): void => {
    const cause: unknown = signal?.reason
    scope.cancel(new CancelledError('an AbortSignal was aborted', { source: 'signal', cause }))
  }
  try {
    if (signal?.aborted) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
    if (limitMs !== undefined) scope.expireIn(limitMs)
    return { value: await bounded(scope, body) }
  } catch (error) {
    if (!scope.isOwnCancel(error)) throw error
    scope.cancelledCaught = true
    return { cancelled: scope.reason as CancelledError }
  } finally {
    signal?.removeEventListener('abort', onAbort)
    scope.leave()
  }
}

/** Waits for the body, or until it has not reacted to the cancellation of its scope for `taskGrace`. */
function bounded<T>(scope: Scope, body: (scope: Scope) => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const task = taskOf(scope)
    let endGrace: (() => void) | undefined
    const watch = (): void => {
      endGrace = afterGrace(
        () => scope.held > 0,
        scopeLimits.taskGrace,
        () => {
          giveUp(scope.name, undefined, task?.wait)
          reject(scope.reason)
        },
      )
    }
    const unwatch = scope.onCancel(watch)
    const done = (): void => {
      unwatch()
      endGrace?.()
    }
    start(scope, body).then(
      (value) => {
        done()
        resolve(value)
      },
      (error) => {
        done()
        reject(error)
      },
    )
  })
}

async function start<T>(scope: Scope, body: (scope: Scope) => Promise<T>): Promise<T> {
  return await current.run(scope, body, scope)
}
