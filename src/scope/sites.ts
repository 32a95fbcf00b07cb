/**
 * Where tasks were spawned. Taking a stack costs 1.3 µs, more than twice a whole task, so not every task gets one: the first
 * two of a nursery do, and then those that come at least 50 µs after the last one that did (`npm run bench -- --suites scope`).
 */
import { monotonic } from './clock.ts'

export interface CreationSite {
  path: string
  line: number
  column: number
}

const ALWAYS = 2
const APART_MS = 0.05
const FRAMES = 4

let last = 0

/**
 * The stack of the caller, unformatted, which is the dear part; undefined when it is left out.
 *
 * @param count how many tasks the nursery has spawned
 * @param below the function whose caller is meant
 */
export function captureSite(count: number, below: (...args: never[]) => unknown): object | undefined {
  if (count > ALWAYS) {
    const now = monotonic()
    if (now - last < APART_MS) return undefined
    last = now
  }
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = FRAMES
  const holder = {}
  Error.captureStackTrace(holder, below)
  Error.stackTraceLimit = before
  return holder
}

const FRAME = /^\s+at (?:.*\()?(?:file:\/\/)?(\/.*|[A-Za-z]:.*):(\d+):(\d+)\)?$/

/** First frame that is neither Node's nor harrow's. */
export function describeSite(site: object | undefined): CreationSite | null {
  const stack = (site as { stack?: unknown } | undefined)?.stack
  if (typeof stack !== 'string') return null
  let found: CreationSite | null = null
  for (const line of stack.split('\n')) {
    const [, path, row, column] = FRAME.exec(line) ?? []
    if (path === undefined) continue
    const here = { path, line: Number(row), column: Number(column) }
    found ??= here
    if (!OWN.test(path)) return here
  }
  return found
}

/** Files of the runtime itself. */
const OWN = /\/harrow\/(src|dist)\/|\/src\/(scope|actor)\/[\w-]+\.[jt]s$/
