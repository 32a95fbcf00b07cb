/**
 * Where tasks were spawned, and calls made. Taking a stack costs 1.5 to 3 µs, more than a whole task and a quarter of a call,
 * so a burst of them all have one, and whoever goes on and on gets one for every 250 µs: 1 % of the time at most. With 50 µs it
 * was 17 % of what 64 calls in flight cost their caller on a busy machine.
 */
import { monotonic } from './clock.ts'

export interface CreationSite {
  path: string
  line: number
  column: number
}

const BURST = 128
const APART_MS = 0.25
const FRAMES = 6

let left = BURST
let filledAt = 0

/** The stack of the caller, unformatted, which is the dear part; undefined when it is left out. */
export function captureSite(): object | undefined {
  const now = monotonic()
  const gained = Math.floor((now - filledAt) / APART_MS)
  if (gained > 0) {
    left = Math.min(BURST, left + gained)
    filledAt = left === BURST ? now : filledAt + gained * APART_MS
  }
  if (left === 0) return undefined
  left--
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = FRAMES
  // A fifth cheaper than captureStackTrace() on an object; frames of the runtime are left out when it is read.
  const holder = new Error()
  Error.stackTraceLimit = before
  return holder
}

const FRAME = /^\s+at (?:.*\()?(?:file:\/\/)?(\/.*|[A-Za-z]:.*):(\d+):(\d+)\)?$/

/** First frame that is neither Node's nor harrow's; null when there is none, as for tasks of the runtime itself. */
export function describeSite(site: object | undefined): CreationSite | null {
  for (const line of frames(site)) {
    const [, path, row, column] = FRAME.exec(line) ?? []
    if (path !== undefined) return { path, line: Number(row), column: Number(column) }
  }
  return null
}

/** The stack as text, without the frames of the runtime; empty when none was taken. */
export function siteStack(site: object | undefined): string {
  return frames(site).join('\n')
}

function frames(site: object | undefined): string[] {
  const stack = (site as { stack?: unknown } | undefined)?.stack
  if (typeof stack !== 'string') return []
  return stack
    .split('\n')
    .slice(1)
    .filter((line) => !line.includes(OWN))
}

/** The folder of the runtime: that of the source, or that of the bundle. */
const OWN = new URL(import.meta.url.endsWith('/scope/sites.ts') ? '..' : '.', import.meta.url).pathname
