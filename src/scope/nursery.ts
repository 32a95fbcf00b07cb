/** A block that owns tasks: it ends when all have ended, and when one fails, the others are cancelled. */
import { CancelledError, TaskGroupError, thrownText, UsageError } from '../errors.ts'
import { checkMs, scopeLimits, shown } from './limits.ts'
import { park } from './park.ts'
import { current, currentScope, hold, Scope } from './scope.ts'
import { type CreationSite, captureSite, describeSite } from './sites.ts'
import { afterGrace, giveUp, Task, taskOf, type UncooperativeTask } from './task.ts'

export interface TaskNurseryOptions {
  /** For dumps and messages. */
  name?: string
  /** `'all'`: one failure cancels all others. `'none'`: tasks are on their own, and `onError` hears of failures. @default 'all' */
  supervise?: 'all' | 'none'
  /** Told of each failure with `supervise: 'none'`. What it throws fails the nursery, as the body would. */
  onError?(error: unknown, task: Task): void
  /** How long a cancelled task may take that does not react, milliseconds, finite. @default 500 */
  graceMs?: number
  /** Makes the error of several failures. @default TaskGroupError */
  group?(errors: unknown[]): AggregateError
}

/** All nurseries that are open and have no task around them; the roots of the task tree. @internal */
export const openNurseries = new Set<TaskNursery>()

/** See {@link openTaskNursery}. */
export class TaskNursery {
  readonly name: string
  /** Scope of all tasks. */
  readonly scope: Scope
  /** Number of living tasks. @internal */
  living = 0
  /** Tasks that did not react to the cancellation and were given up. */
  readonly uncooperative: UncooperativeTask[] = []
  /** @internal */
  readonly owner: Task | undefined
  readonly #site: object | undefined
  readonly #options: TaskNurseryOptions
  readonly #failures: unknown[] = []
  #closed = false
  #watched = false
  #endGraces = new Map<Task, () => void>()
  #idle: (() => void)[] = []

  /** @internal nurseries of users are opened by `openTaskNursery` */
  constructor(parent: Scope, options: TaskNurseryOptions = {}) {
    this.name = options.name ?? 'nursery'
    this.#options = options
    this.scope = new Scope(parent, this.name)
    this.owner = taskOf(parent)
    this.#site = captureSite()
    openNurseries.add(this)
    this.scope.onCancel(() => this.#watchAll())
  }

  /** Living tasks, the oldest first. @internal */
  get tasks(): Task[] {
    const tasks: Task[] = []
    for (let child = this.scope.firstChild; child !== undefined; child = child.nextSibling) {
      if (child instanceof Task) tasks.push(child)
    }
    return tasks
  }

  /** Where it was opened. */
  get created(): CreationSite | null {
    return describeSite(this.#site)
  }

  /**
   * Starts a task. In a nursery that is cancelled it does not begin.
   *
   * @param fn gets its own scope
   * @param options.name default: the function's name
   * @throws UsageError when the nursery has ended
   */
  spawn<R>(fn: (scope: Scope) => Promise<R> | R, options?: { name?: string }): Task<R> {
    if (this.#closed) {
      throw new UsageError(
        `nursery ${this.name} has ended: no task can be spawned in it. Spawn before its body returns.`,
      )
    }
    const task = new Task<R>(this.scope, options?.name ?? (fn.name || 'task'))
    task.site = captureSite()
    this.begin(task, fn)
    return task
  }

  /** Runs a task that was made below {@link scope}. @internal */
  begin<R>(task: Task<R>, fn: (scope: Scope) => Promise<R> | R): void {
    this.living++
    let promise: Promise<R>
    if (task.reason !== undefined) promise = Promise.reject(task.reason)
    else {
      try {
        const value = current.run(task as Scope, fn, task as Scope)
        promise = value instanceof Promise ? value : Promise.resolve(value)
      } catch (error) {
        promise = Promise.reject(error)
      }
    }
    promise.then(
      (value) => {
        this.#ended(task)
        task.returned(value)
      },
      (error) => {
        this.#failed(task, error)
        task.threw(error)
      },
    )
    if (this.#watched) this.#watch(task)
  }

  #failed(task: Task, error: unknown): void {
    try {
      const cancelled = task.isCancel(error)
      if (cancelled && task.cancelCalled) task.cancelledCaught = true
      if (task.givenUp || cancelled) return
      if (this.#options.supervise === 'none') this.#options.onError?.(error, task)
      else this.#fail(error, task.name)
    } catch (thrown) {
      this.#fail(thrown, `onError for ${task.name}`)
    } finally {
      // Whatever was thrown: a task that does not end would hold its nursery for ever.
      this.#ended(task)
    }
  }

  #fail(error: unknown, by: string): void {
    this.#failures.push(error)
    const text = thrownText(error).split('\n', 1)[0]
    this.scope.cancel(new CancelledError(`${by} failed: ${text}`, { source: 'sibling', by, cause: error }))
  }

  #ended(task: Task): void {
    if (task.over) return
    task.over = true
    task.leave()
    this.living--
    if (this.#watched) {
      this.#endGraces.get(task)?.()
      this.#endGraces.delete(task)
    }
    if (this.living === 0 && this.#idle.length > 0) for (const wake of this.#idle.splice(0)) wake()
  }

  // ---- cancellation

  /** Cancels all tasks, and those that are spawned later. */
  cancel(reason?: string | CancelledError): boolean {
    return this.scope.cancel(reason)
  }

  /** From its cancellation on, a task has its grace; then nobody waits for it. */
  #watchAll(): void {
    this.#watched = true
    for (const task of this.tasks) this.#watch(task)
  }

  #watch(task: Task): void {
    if (task.over || this.#endGraces.has(task)) return
    const graceMs = this.#options.graceMs ?? scopeLimits.taskGrace
    const end = afterGrace(
      () => task.held > 0,
      graceMs,
      () => {
        this.#endGraces.delete(task)
        task.givenUp = true
        this.uncooperative.push(giveUp(task.name, task.site, task.wait))
        this.#ended(task)
      },
    )
    this.#endGraces.set(task, end)
  }

  // ---- the end

  /** Settles when no task is left, now or after those that run. Bounded once the nursery is cancelled. */
  idle(): Promise<void> {
    if (this.living === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#idle.push(resolve)
    })
  }

  /** Waits for all tasks and closes. @throws nothing of theirs: see {@link outcome} */
  async join(): Promise<void> {
    while (this.living > 0) await this.idle()
    this.close()
  }

  /** @internal */
  close(): void {
    this.#closed = true
    this.scope.leave()
    openNurseries.delete(this)
  }

  /** Notes a failure of the body. @internal */
  bodyFailed(error: unknown): void {
    if (this.scope.isCancel(error)) return
    this.#fail(error, 'the body')
  }

  /** The error that leaves the nursery: one bare, several as a group, none undefined. @internal */
  outcome(): { error: unknown } | undefined {
    const errors = this.#failures.map(collapse)
    if (errors.length === 0) return undefined
    if (errors.length === 1) return { error: errors[0] }
    return { error: this.#options.group?.(errors) ?? new TaskGroupError(errors) }
  }
}

/** A group of one is its member, at any depth. */
export function collapse(error: unknown): unknown {
  let at = error
  try {
    while (at instanceof TaskGroupError && at.errors.length === 1) at = at.errors[0]
  } catch {
    // A proxy that does not want to be looked at is no group.
  }
  return at
}

/**
 * Opens a nursery, runs `body`, and ends when the body and all tasks have ended. When one fails, the others are
 * cancelled; a single error leaves as it is, several as a {@link TaskGroupError}, in the order in which they happened.
 *
 * When the scope around it is cancelled, all tasks are, and that cancellation leaves. A task that does not react to its
 * cancellation within 500 ms is given up, and listed in `nursery.uncooperative`.
 *
 * @returns what the body returns
 * @throws UsageError for a wrong option
 * @example
 * ```ts
 * import { openTaskNursery, sleep } from 'harrow'
 *
 * await openTaskNursery(async (nursery) => {
 *   nursery.spawn(() => sleep(10), { name: 'short' })
 *   nursery.spawn(() => sleep(20), { name: 'long' })
 * })
 * ```
 */
export async function openTaskNursery<T>(body: (nursery: TaskNursery) => Promise<T>): Promise<T>
export async function openTaskNursery<T>(
  options: TaskNurseryOptions,
  body: (nursery: TaskNursery) => Promise<T>,
): Promise<T>
export async function openTaskNursery<T>(
  first: TaskNurseryOptions | ((nursery: TaskNursery) => Promise<T>),
  second?: (nursery: TaskNursery) => Promise<T>,
): Promise<T> {
  const [options, body] = typeof first === 'function' ? [{}, first] : [first, second]
  if (typeof body !== 'function') throw new UsageError(`openTaskNursery() expects a function, got ${typeof body}.`)
  check(options)
  const outer = currentScope()
  outer.throwIfCancelled()
  const nursery = new TaskNursery(outer, options)
  const main = nursery.spawn(() => body(nursery), { name: 'body' })
  await wholeEnd(nursery, outer)
  const outcome = nursery.outcome()
  if (outcome) throw outcome.error
  if (outer.reason !== undefined && nursery.scope.cancelled && !main.over) throw outer.reason
  return await unlessCancelled(nursery, outer, main)
}

const KEYS: readonly string[] = ['name', 'supervise', 'onError', 'graceMs', 'group']

function check(options: TaskNurseryOptions): void {
  for (const key of Object.keys(options)) {
    if (!KEYS.includes(key))
      throw new UsageError(`openTaskNursery() has no option "${key}". Valid options: ${KEYS.join(', ')}.`)
  }
  const { supervise, graceMs } = options
  if (supervise !== undefined && supervise !== 'all' && supervise !== 'none')
    throw new UsageError(`openTaskNursery({ supervise }) expects 'all' or 'none', got ${shown(supervise)}.`)
  if (graceMs !== undefined)
    checkMs('openTaskNursery({ graceMs })', graceMs, 'A task that never reacts would keep its nursery open.')
}

/** Waits for all tasks; the task around it is parked meanwhile, and bounded by the tasks' graces once it is cancelled. */
async function wholeEnd(nursery: TaskNursery, outer: Scope): Promise<void> {
  if (nursery.living > 0) {
    try {
      await park({ reason: 'child task', on: nursery.name }, (resolve) => {
        void nursery.idle().then(resolve)
      })
    } catch {
      // The scope around it was cancelled, and the nursery with it.
    }
  }
  // Its own scope is left out: the graces of its tasks run.
  const release = hold(outer)
  try {
    await nursery.join()
  } finally {
    release()
  }
}

async function unlessCancelled<T>(nursery: TaskNursery, outer: Scope, main: Task<T>): Promise<T> {
  try {
    return main.givenUp ? await Promise.reject(nursery.scope.reason) : await main.result
  } catch (error) {
    // Cancelled by itself: `nursery.cancel()` ends here, as a scope's own cancellation does.
    if (nursery.scope.isOwnCancel(error)) return undefined as T
    throw outer.reason ?? error
  }
}
