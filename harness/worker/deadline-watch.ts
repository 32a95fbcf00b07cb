/** Sees each stretch of code that vitest bounds by a limit, and the moment at which the limit passes. */

/** vitest 5.1: the deadline of a bounded section; `timer` is a real `Timeout` of Node. */
export interface TaskDeadline {
  timer?: { _onTimeout?: (...args: unknown[]) => void }
  startTime?: number
  endTime?: number
  clear(): void
}

/** What is told of one bounded section; `closed` comes once, before `overdue` when the limit passes. */
export interface BoundedSection {
  closed(): void
  /** @returns `hold`: vitest is not to enforce the limit; a promise: not before it has settled */
  overdue(): Overdue
}

/** See {@link BoundedSection.overdue}. */
export type Overdue = 'hold' | Promise<void> | undefined

const SEEN = Symbol('harrow.section')

/**
 * vitest sets `runner._deadline` to a fresh deadline when a bounded section starts and to the previous one when it ends.
 * An accessor on the prototype sees both; the timer inside is wrapped so that the moment at which it fires is ours first.
 */
export function watchDeadlines(prototype: object, opened: (timeoutMs: number) => BoundedSection): void {
  const values = new WeakMap<object, TaskDeadline | undefined>()
  Object.defineProperty(prototype, '_deadline', {
    configurable: true,
    get(this: object) {
      return values.get(this)
    },
    set(this: object, deadline: (TaskDeadline & { [SEEN]?: true }) | undefined) {
      values.set(this, deadline)
      if (!deadline || deadline[SEEN]) return
      Object.defineProperty(deadline, SEEN, { value: true })
      wrap(deadline, opened((deadline.endTime ?? 0) - (deadline.startTime ?? 0)))
    },
  })
}

function wrap(deadline: TaskDeadline, section: BoundedSection): void {
  const { clear, timer } = deadline
  let cleared = false
  deadline.clear = function (this: TaskDeadline) {
    cleared = true
    section.closed()
    clear.call(this)
  }
  const fire = timer?._onTimeout
  if (!timer || typeof fire !== 'function') return
  timer._onTimeout = (...args: unknown[]) => {
    // Closed first: while and after the worker looks at itself, this section is no longer overdue.
    section.closed()
    const verdict = section.overdue()
    if (verdict === 'hold') return
    if (verdict === undefined) fire.apply(timer, args)
    else {
      const go = (): void => {
        if (!cleared) fire.apply(timer, args)
      }
      verdict.then(go, go)
    }
  }
}
