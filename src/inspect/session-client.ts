import type { Session } from 'node:inspector'
import { ProbeError } from '../errors.ts'
import { CALL_TIMEOUT_MS, type InspectorClient, within } from './client.ts'

/** A connection over an inspector session of this process, which must be connected. `close()` has it disconnect. */
export function clientOfSession(session: Session): InspectorClient {
  const emitter = session as unknown as {
    on(name: string, listener: (message: { params: unknown }) => void): void
    off(name: string, listener: (message: { params: unknown }) => void): void
    post(method: string, params: object, done: (error: Error | null, result: unknown) => void): void
  }
  let closing: Promise<void> | undefined

  function post(method: string, params: object = {}, timeoutMs = CALL_TIMEOUT_MS): Promise<unknown> {
    const answer = new Promise<unknown>((resolve, reject) => {
      emitter.post(method, params, (error, result) => {
        if (error) reject(new ProbeError(`${method} failed: ${error.message}`, { cause: error }))
        else resolve(result)
      })
    })
    return within(answer, timeoutMs, `${method} was not answered within ${timeoutMs} ms`)
  }

  async function disconnect(): Promise<void> {
    await post('Debugger.disable', {}, 500).catch(() => {})
    session.disconnect()
  }

  return {
    post,
    on(method, listener) {
      const hear = ({ params }: { params: unknown }): void => listener(params)
      emitter.on(method, hear)
      return () => emitter.off(method, hear)
    },
    close() {
      closing ??= disconnect().catch(() => {})
      return closing
    },
  }
}
