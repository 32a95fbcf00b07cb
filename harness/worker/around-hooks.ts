/**
 * `aroundEach` and `aroundAll` have a limit for what they do before and one for what they do after, kept by timers of vitest's that
 * nothing shows. So each such hook gets a wrapper that keeps these limits in its place, and fails as vitest would; vitest's own
 * are put off by the time that a look at the hang may take. One thing is not done that vitest does: the `signal` of the test is not
 * aborted, for nothing outside of vitest can.
 */
import type { BoundedSection } from './deadline-watch.ts'
import { clearTimeout, setTimeout } from './globals.ts'

export type AroundName = 'aroundEach' | 'aroundAll'

/** What vitest 5.1 notes on such a hook. */
const LIMIT = Symbol.for('VITEST_AROUND_TIMEOUT')
const SITE = Symbol.for('VITEST_AROUND_STACK_TRACE')
const SEEN = Symbol('harrow.around')
/** A look at a large heap on a busy machine; the main process has its own bound for it. */
const PUT_OFF_MS = 120_000

type Use = () => unknown
interface AroundHook {
  (use: Use, ...rest: unknown[]): unknown
  [LIMIT]?: unknown
  [SITE]?: unknown
  [SEEN]?: true
}

/** What the wrapper tells of. */
export interface AroundEvents {
  /** One of the two stretches of a hook begins. */
  opened(name: AroundName, timeoutMs: number): BoundedSection
  /** Runs the hook, under a mark that says whose it is. */
  run(name: AroundName, body: () => unknown): unknown
}

/** Wraps the hooks of a suite in place, each once. Those without a limit stay as they are. */
export function watchAroundHooks(hooks: { [name in AroundName]?: unknown[] } | undefined, events: AroundEvents): void {
  for (const name of ['aroundEach', 'aroundAll'] as const) {
    for (const [at, hook] of (hooks?.[name] ?? []).entries()) {
      if (typeof hook !== 'function' || (hook as AroundHook)[SEEN]) continue
      const limit = (hook as AroundHook)[LIMIT]
      if (typeof limit !== 'number' || !(limit > 0) || limit === Number.POSITIVE_INFINITY) continue
      hooks![name]![at] = bounded(name, hook as AroundHook, limit, events)
    }
  }
}

function bounded(name: AroundName, hook: AroundHook, limit: number, events: AroundEvents): AroundHook {
  const wrapped = (use: Use, ...rest: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      let isLate = false
      const begin = (phase: 'setup' | 'teardown'): (() => void) => {
        const section = events.opened(name, limit)
        let isOver = false
        const timer = setTimeout(() => {
          section.closed()
          const verdict = section.overdue()
          if (verdict === 'hold') return
          const fail = (): void => {
            if (isOver) return
            isLate = true
            reject(lateError(name, phase, limit, hook[SITE]))
          }
          if (verdict === undefined) fail()
          else verdict.then(fail, fail)
        }, limit)
        timer.unref()
        return () => {
          if (isOver) return
          isOver = true
          clearTimeout(timer)
          section.closed()
        }
      }
      let end = begin('setup')
      const inner = async (): Promise<unknown> => {
        // As vitest does: the test must not run any more, and nobody sees this.
        if (isLate) throw new Error('the hook has run into its limit')
        end()
        try {
          return await use()
        } finally {
          end = begin('teardown')
        }
      }
      const over =
        (then: (value: unknown) => void) =>
        (value: unknown): void => {
          end()
          then(value)
        }
      try {
        const result = events.run(name, () => hook(inner, ...rest))
        Promise.resolve(result).then(over(resolve), over(reject))
      } catch (error) {
        over(reject)(error)
      }
    })
  return Object.assign(wrapped, hook, { [LIMIT]: limit + PUT_OFF_MS, [SEEN]: true as const })
}

function lateError(name: AroundName, phase: 'setup' | 'teardown', limit: number, site: unknown): Error {
  const message = `The ${phase} phase of "${name}" hook timed out after ${limit}ms.`
  const error = Object.assign(new Error(message), {
    name: phase === 'setup' ? 'AroundHookSetupError' : 'AroundHookTeardownError',
  })
  if (site instanceof Error && site.stack) error.stack = site.stack.replace(site.message, message)
  return error
}
