/** Enough of birpc's message format to answer a worker's calls in the place of vitest's pool runner. */

export interface RpcRequest {
  t: 'q'
  /** Method. */
  m: string
  /** Arguments. */
  a: unknown[]
  /** Id of the call; absent for one that wants no answer. */
  i?: string
}

export function isRpcRequest(message: unknown): message is RpcRequest {
  const m = message as Partial<RpcRequest> | null
  return typeof m === 'object' && m !== null && m.t === 'q' && typeof m.m === 'string' && Array.isArray(m.a)
}

export const answer = (request: RpcRequest, result: unknown): object => ({ t: 's', i: request.i, r: result })

export const refuse = (request: RpcRequest, error: unknown): object => ({ t: 's', i: request.i, e: error })
