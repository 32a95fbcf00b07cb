/** The tree of cancel scopes: one parent link and one child set each, signals made only when somebody asks for one. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { CancelledError, DeadlineExceeded, UsageError } from '../errors.ts'
import { clearTimer, monotonic, startTimer } from './clock.ts'
import { shown } from './limits.ts'

/** Called once with the reason; see {@link Scope.onCancel}. */
export type CancelCallback = (reason: CancelledError) => void

/**
 * Whoever hears of a cancellation, linked into the list of its scope. Linked lists and not Sets, here and for children: a Set
 * that lives long and changes often keeps its dead members from V8's young collector, since each outgrown table points to
 * the next one; calls cost twice as much with them.
 *
 * @internal
 */
export interface Listener {
  /** @param scope the one whose list it was in; it is taken out before */
  told(reason: CancelledError, scope: Scope): void
  previous: Listener | undefined
  next: Listener | undefined
  /** The scope whose list it is in. */
  listensTo: Scope | undefined
}

class CallbackListener implements Listener {
  previous: Listener | undefined = undefined
  next: Listener | undefined = undefined
  listensTo: Scope | undefined = undefined
  readonly told: CancelCallback

  constructor(callback: CancelCallback) {
    this.told = callback
  }
}

/** Users' deadlines are times of `performance.now()`, which an actor that has none does not load. */
function clockOffset(): number {
  return performance.now() - monotonic()
}

/**
 * A stretch of code that can be cancelled as a whole. Cancellation is level-triggered: once a scope is cancelled, every wait
 * in it and below it rejects, again and again, until the scope is left.
 */
export class Scope {
  /** Scope around it whose cancellation reaches it; null for a root, and behind a shield. */
  readonly parent: Scope | null
  /** Scope around it, also behind a shield; for dumps, and for what is looked up outwards. */
  readonly outer: Scope | null
  readonly name: string
  /** This very scope was cancelled, and took its cancellation in. */
  cancelledCaught = false

  /** @internal what everything below belongs to: an actor */
  host: unknown
  /** @internal above 0 while code in it is in something of harrow's that has a bound of its own: no grace runs then */
  held = 0
  /** @internal scopes below it, first to last */
  firstChild: Scope | undefined
  #lastChild: Scope | undefined
  /** @internal its neighbour below the same parent */
  nextSibling: Scope | undefined
  #previousSibling: Scope | undefined
  #firstListener: Listener | undefined
  #lastListener: Listener | undefined
  #reason: CancelledError | undefined
  #own = false
  #controller: AbortController | undefined
  #deadline = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #left = false

  /** @internal scopes are made by `runScope` and by nurseries */
  constructor(parent: Scope | null, name: string, outer: Scope | null = parent) {
    this.parent = parent
    this.outer = outer
    this.name = name
    this.host = outer === null ? undefined : outer.host
    if (parent !== null) {
      const last = parent.#lastChild
      if (last === undefined) parent.firstChild = this
      else {
        last.nextSibling = this
        this.#previousSibling = last
      }
      parent.#lastChild = this
      this.#reason = parent.#reason
    }
  }

  /** It, or a scope around it, is cancelled. */
  get cancelled(): boolean {
    return this.#reason !== undefined
  }

  /** Why; the same object that waits reject with, and that `signal.reason` is. */
  get reason(): CancelledError | undefined {
    return this.#reason
  }

  /** It was cancelled itself, not only a scope around it. */
  get cancelCalled(): boolean {
    return this.#own
  }

  /** For `fetch`, `fs`, `timers/promises` and everything else that takes an `AbortSignal`. Made at the first look. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  /**
   * Time of `performance.now()` at which it is cancelled; `Infinity` for none. Can be set anew.
   *
   * @throws UsageError for what is no number
   */
  get deadline(): number {
    return this.#deadline === Number.POSITIVE_INFINITY ? this.#deadline : this.#deadline + clockOffset()
  }

  set deadline(at: number) {
    if (typeof at !== 'number' || Number.isNaN(at)) {
      throw new UsageError(
        `scope.deadline expects a time of performance.now() in milliseconds, or Infinity for none, got ${shown(at)}.`,
      )
    }
    if (at === Number.POSITIVE_INFINITY) this.#expireAt(at)
    else this.#expireAt(at - clockOffset())
  }

  /** @internal */
  expireIn(limitMs: number): void {
    this.#expireAt(monotonic() + limitMs)
  }

  #expireAt(at: number): void {
    this.#deadline = at
    clearTimer(this.#timer)
    this.#timer = undefined
    if (at === Number.POSITIVE_INFINITY || this.#own || this.#left) return
    const limitMs = Math.max(0, at - monotonic())
    const expire = (): void => {
      // Node fires up to a millisecond early.
      const rest = this.#deadline - monotonic()
      if (rest > 0) this.#timer = startTimer(expire, Math.max(1, rest))
      else this.cancel(new DeadlineExceeded(`the deadline of ${this.name} passed`, Math.round(limitMs)))
    }
    this.#timer = startTimer(expire, Math.min(limitMs, 2 ** 31 - 1))
  }

  /**
   * Cancels everything in this scope. The first call wins.
   *
   * @param reason a sentence, or the error itself
   * @returns false when it had been cancelled before
   */
  cancel(reason: string | CancelledError = `${this.name} was cancelled`): boolean {
    if (this.#own || this.#left) return false
    this.#own = true
    const error = typeof reason === 'string' ? new CancelledError(reason, { source: 'explicit' }) : reason
    this.#spread(error)
    return true
  }

  /** Synchronous and without listeners: a chain of N signals would cost N² (performance.md section 5). */
  #spread(reason: CancelledError): void {
    const open: Scope[] = [this]
    const reached: Scope[] = []
    for (let scope = open.pop(); scope !== undefined; scope = open.pop()) {
      if (scope.#reason === undefined) {
        scope.#reason = reason
        reached.push(scope)
      } else if (scope !== this) continue
      for (let child = scope.firstChild; child !== undefined; child = child.nextSibling) open.push(child)
    }
    // All of them are cancelled before the first callback runs: what it does must see that.
    for (const scope of reached) scope.#tell(reason)
  }

  #tell(reason: CancelledError): void {
    // Taken out one by one: one that is told may take out others.
    for (let listener = this.#firstListener; listener !== undefined; listener = this.#firstListener) {
      this.drop(listener)
      try {
        listener.told(reason, this)
      } catch (error) {
        // One of them must not keep the others from hearing; the error is the process's.
        queueMicrotask(() => {
          throw error
        })
      }
    }
    this.#controller?.abort(reason)
  }

  /** @throws the reason, when it is cancelled */
  throwIfCancelled(): void {
    if (this.#reason !== undefined) throw this.#reason
  }

  /**
   * Calls back once, synchronously, when it is cancelled; at once when it already is.
   *
   * @returns a function that takes the callback back
   */
  onCancel(callback: CancelCallback): () => void {
    if (this.#reason !== undefined) {
      callback(this.#reason)
      return () => {}
    }
    const listener = new CallbackListener(callback)
    this.add(listener)
    return () => this.drop(listener)
  }

  /** @internal */
  add(listener: Listener): void {
    const last = this.#lastListener
    if (last === undefined) this.#firstListener = listener
    else {
      last.next = listener
      listener.previous = last
    }
    this.#lastListener = listener
    listener.listensTo = this
  }

  /** Without effect for one that is not in the list. @internal */
  drop(listener: Listener): void {
    if (listener.listensTo !== this) return
    const { previous, next } = listener
    if (previous === undefined) this.#firstListener = next
    else previous.next = next
    if (next === undefined) this.#lastListener = previous
    else next.previous = previous
    listener.previous = undefined
    listener.next = undefined
    listener.listensTo = undefined
  }

  /** Is this error the cancellation of this very scope, as it was thrown or as Node wraps it? */
  isOwnCancel(error: unknown): boolean {
    return this.#own && this.#reason !== undefined && leadsTo(error, this.#reason)
  }

  /** Is it the cancellation of this scope or of one around it? @internal */
  isCancel(error: unknown): boolean {
    return this.#reason !== undefined && leadsTo(error, this.#reason)
  }

  /** The code in it is over. @internal */
  leave(): void {
    this.#left = true
    if (this.#timer !== undefined) {
      clearTimer(this.#timer)
      this.#timer = undefined
    }
    const { parent } = this
    if (parent === null) return
    const previous = this.#previousSibling
    const next = this.nextSibling
    if (previous !== undefined) previous.nextSibling = next
    else if (parent.firstChild === this) parent.firstChild = next
    // Neither in the list nor the only one of it: it has left before.
    else return
    if (next !== undefined) next.#previousSibling = previous
    else parent.#lastChild = previous
    this.#previousSibling = undefined
    this.nextSibling = undefined
  }

  /** Everything below belongs to this from now on. @internal */
  setHost(host: unknown): void {
    this.host = host
  }

  /** A scope that the cancellation of this one does not reach, of the same host. @internal */
  shieldedChild(name: string): Scope {
    return new Scope(null, name, this)
  }
}

const CAUSES = 8

/** Never throws: an error with getters that do is not the one that is looked for. */
function leadsTo(error: unknown, reason: CancelledError): boolean {
  if (error === reason) return true
  try {
    return wraps(error, reason)
  } catch {
    return false
  }
}

function wraps(error: unknown, reason: CancelledError): boolean {
  if (error instanceof AggregateError) {
    return error.errors.length > 0 && error.errors.every((one) => leadsTo(one, reason))
  }
  let at = error
  for (let depth = 0; depth < CAUSES; depth++) {
    if (typeof at !== 'object' || at === null || (at as { name?: unknown }).name !== 'AbortError') return false
    at = (at as { cause?: unknown }).cause
    if (at === reason) return true
  }
  return false
}

/**
 * Counts a scope and all around it as held, until the given function is called: what is bounded by itself is waited for.
 * @internal
 */
export function hold(scope: Scope): () => void {
  for (let at: Scope | null = scope; at !== null; at = at.outer) at.held++
  return () => {
    for (let at: Scope | null = scope; at !== null; at = at.outer) at.held--
  }
}

/** @internal */
export const current = new AsyncLocalStorage<Scope>()

/** Around everything that runs in no scope; never cancelled. */
const outermost = new Scope(null, 'process')

/** The scope that code runs in; outside of any, one of the whole process that is never cancelled. */
export function currentScope(): Scope {
  return current.getStore() ?? outermost
}

/** What the code that runs now belongs to; the actor runtime keeps its actor there. */
export function currentHost(): unknown {
  return current.getStore()?.host
}

/** Runs something that is bounded by itself: whoever has cancelled the scope around it waits for its end. @internal */
export async function heldFor<T>(body: () => Promise<T>): Promise<T> {
  const release = hold(currentScope())
  try {
    return await body()
  } finally {
    release()
  }
}
