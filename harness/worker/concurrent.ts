/**
 * Which of the tests that run at once is running at this very moment. Only bodies of such tests are followed, and only where
 * V8 itself carries the value along (Node.js 24 and later): before, it takes an async hook, which slows each `await` down.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

const store =
  Number.parseInt(process.versions.node, 10) >= 24 && !process.execArgv.includes('--no-async-context-frame')
    ? new AsyncLocalStorage<string>()
    : undefined

/** Runs the body of a concurrent test. */
export const runConcurrent = <T>(id: string, body: () => T): T => (store ? store.run(id, body) : body())

/** Task id of the concurrent test whose code runs; undefined for any other code, and where that is not followed. */
export const currentConcurrent = (): string | undefined => store?.getStore()
