import { ProbeError } from '../errors.ts'
// This module may be loaded when a fake clock is installed already, which must not stop the deadlines.
import { clearTimer as clearTimeout, setTimer as setTimeout } from '../process/clean.ts'

/** How long one inspector call may take unless the caller says otherwise, in milliseconds. */
export const CALL_TIMEOUT_MS = 2000

/** A connection to the inspector of one process or thread. */
export interface InspectorClient {
  /**
   * Calls a method of the DevTools protocol.
   * @param timeoutMs how long to wait for the answer; 2000 by default
   * @throws {ProbeError} naming the method: no answer in time, an error as the answer, or a closed connection
   */
  post(method: string, params?: object, timeoutMs?: number): Promise<unknown>
  /** Listens to an event of the protocol; answers with the function that stops listening. */
  on(method: string, listener: (params: unknown) => void): () => void
  /** Lets the target run on and disconnects. Never throws, may be called again, always returns within a bound. */
  close(): Promise<void>
}

/** The half of a connection that numbers calls and finds the caller of an answer; knows nothing of the transport. */
export interface Wire {
  post: InspectorClient['post']
  on: InspectorClient['on']
  /** Takes one message of the target. What is not a message of the protocol is ignored. */
  receive(text: string): void
  /** Fails every call in flight and every later one. */
  end(reason: string): void
}

interface Call {
  method: string
  resolve(value: unknown): void
  reject(error: ProbeError): void
}

/**
 * Makes a {@link Wire} over a function that sends one message.
 * @param send may throw; the call then fails with its message as the cause
 */
export function createWire(send: (text: string) => void): Wire {
  const calls = new Map<number, Call>()
  const listeners = new Map<string, Set<(params: unknown) => void>>()
  let last = 0
  let ended: string | undefined

  function post(method: string, params: object = {}, timeoutMs = CALL_TIMEOUT_MS): Promise<unknown> {
    if (ended !== undefined) return Promise.reject(new ProbeError(`${method} was not sent: ${ended}`))
    last += 1
    const id = last
    const answer = new Promise<unknown>((resolve, reject) => calls.set(id, { method, resolve, reject }))
    try {
      send(JSON.stringify({ id, method, params }))
    } catch (cause) {
      calls.delete(id)
      return Promise.reject(new ProbeError(`${method} could not be sent`, { cause }))
    }
    return within(answer, timeoutMs, `${method} was not answered within ${timeoutMs} ms`).finally(() =>
      calls.delete(id),
    )
  }

  return {
    post,
    on(method, listener) {
      const set = listeners.get(method) ?? new Set()
      listeners.set(method, set.add(listener))
      return () => set.delete(listener)
    },
    receive(text) {
      const message = parseMessage(text)
      if (message === undefined) return
      if (message.id === undefined) {
        for (const listener of [...(listeners.get(message.method ?? '') ?? [])]) listener(message.params)
        return
      }
      const call = calls.get(message.id)
      if (call === undefined) return
      if (message.error === undefined) call.resolve(message.result)
      else call.reject(new ProbeError(`${call.method} failed: ${message.error.message ?? 'no reason given'}`))
    },
    end(reason) {
      ended ??= reason
      for (const call of calls.values()) call.reject(new ProbeError(`${call.method} was not answered: ${reason}`))
      calls.clear()
      listeners.clear()
    },
  }
}

/**
 * Bounds a promise. The timer keeps the thread alive, since a pending inspector call does not.
 * @param message of the {@link ProbeError} when the time is over
 */
export function within<T>(promise: PromiseLike<T>, timeoutMs: number, message: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new ProbeError(message)), timeoutMs)
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}

/** A pause that a fake clock cannot stop. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

interface Message {
  id?: number
  method?: string
  params?: unknown
  result?: unknown
  error?: { message?: string }
}

function parseMessage(text: string): Message | undefined {
  try {
    const message: unknown = JSON.parse(text)
    return typeof message === 'object' && message !== null ? message : undefined
  } catch {
    return undefined
  }
}
