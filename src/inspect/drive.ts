import inspector from 'node:inspector'
import { ProbeError } from '../errors.ts'
import { clearTimer as clearTimeout, setTimer as setTimeout } from '../process/clean.ts'

/** A call to the inspector that an inspection asks its driver to make. */
export interface InspectorCall {
  method: string
  params?: object
}

/**
 * Runs an inspection to its end without leaving the current call.
 *
 * @param post makes a call and answers at once; what it throws is thrown into the inspection
 */
export function driveSync<T>(
  inspection: Generator<InspectorCall, T, unknown>,
  post: (method: string, params?: object) => unknown,
): T {
  let step = inspection.next()
  while (!step.done) {
    let answer: unknown
    try {
      answer = post(step.value.method, step.value.params)
    } catch (error) {
      step = inspection.throw(error)
      continue
    }
    step = inspection.next(answer)
  }
  return step.value
}

/**
 * Runs an inspection over a connection.
 *
 * @param post makes a call; what it rejects with is thrown into the inspection
 * @param callMs time for one call in milliseconds (default 5000); a call without an answer in time is thrown into the
 *   inspection as a {@link ProbeError}
 */
export async function driveAsync<T>(
  inspection: Generator<InspectorCall, T, unknown>,
  post: (method: string, params?: object) => Promise<unknown>,
  callMs = 5000,
): Promise<T> {
  let step = inspection.next()
  while (!step.done) {
    let answer: unknown
    try {
      answer = await within(post(step.value.method, step.value.params), callMs, step.value.method)
    } catch (error) {
      step = inspection.throw(error)
      continue
    }
    step = inspection.next(answer)
  }
  return step.value
}

/**
 * Gives `use` a function that calls the inspector of this very thread and answers at once, and ends the session
 * afterwards: a session left open slows promises down. Works in the main thread and in workers.
 */
export function withSession<T>(use: (post: (method: string, params?: object) => unknown) => T): T {
  const session = new inspector.Session()
  session.connect()
  try {
    return use((method, params) => {
      let outcome: { error: Error | null; result: unknown } | undefined
      session.post(method, params, (error, result) => {
        outcome = { error, result }
      })
      if (!outcome) throw new ProbeError(`${method} did not answer at once`)
      if (outcome.error) throw new ProbeError(`${method} failed: ${outcome.error.message}`, { cause: outcome.error })
      return outcome.result
    })
  } finally {
    session.disconnect()
  }
}

async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new ProbeError(`${what} did not answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
