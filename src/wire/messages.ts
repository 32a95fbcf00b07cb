/**
 * Everything that two actors tell each other. A message is an array whose first item is its type: that is the smallest form
 * in MessagePack, and what the dispatcher switches on.
 */
import type { Uid } from '../errors.ts'

/** Raised when a message changes its meaning; the handshake refuses another version. */
export const PROTOCOL = 1

/** Identity of an actor, made by its parent. Only `uuid` tells two actors apart: names may repeat. */
export interface Aid {
  readonly name: string
  readonly uuid: string
  /** Absent until the actor runs. */
  readonly pid?: number
  /** Address at which it can be dialled, as text; see `address.ts`. */
  readonly addr?: string
}

export const uidOf = (aid: Aid): Uid => [aid.name, aid.uuid]

/** First items of the messages. */
export const Msg = {
  hello: 0,
  proof: 1,
  spec: 2,
  start: 3,
  startAck: 4,
  started: 5,
  yield: 6,
  stop: 7,
  return: 8,
  error: 9,
  cancel: 10,
  cancelAck: 11,
  cancelActor: 12,
  grant: 13,
  cancelPending: 14,
} as const

/**
 * What a dialler wants: `link` is a child on its way to its parent, `told` one that has its parent's hello and spec already (see
 * {@link file://./ahead.ts}), `probe` only asks who listens.
 */
export type Role = 'link' | 'told' | 'peer' | 'probe'

/** First message of both sides. */
export type Hello = [
  type: typeof Msg.hello,
  version: number,
  aid: Aid,
  role: Role,
  registrar: boolean,
  /** Random bytes that the other side signs with the shared key; only where the transport does not authenticate. */
  nonce: Uint8Array | null,
  /** Signature of the other side's nonce; only in the answer of the acceptor. */
  proof: Uint8Array | null,
]
/** The dialler's signature of the acceptor's nonce. */
export type Proof = [type: typeof Msg.proof, proof: Uint8Array]
/** The parent's answer to a child that says hello; its content belongs to `src/actor`. */
export type Spec = [type: typeof Msg.spec, spec: unknown]

/** How an endpoint is called: a function, an async generator, or a context. */
export type Kind = 'func' | 'generator' | 'context'

/**
 * Starts a task. `cid` is its number on this channel: dialler's are odd, the acceptor's are even.
 * `buffer`: how many items of a stream the caller takes before it grants more.
 */
export type Start = [
  type: typeof Msg.start,
  cid: number,
  module: string,
  name: string,
  args: unknown[],
  kind: Kind | null,
  options: StartOptions | null,
]
export interface StartOptions {
  buffer?: number
  allowOverruns?: boolean
}
/** The task has been accepted. Left out when its `return` goes out in the same turn. */
export type StartAck = [type: typeof Msg.startAck, cid: number, kind: Kind]
export type Started = [type: typeof Msg.started, cid: number, value: unknown]
/** An item of the stream of a context or generator. */
export type Yield = [type: typeof Msg.yield, cid: number, value: unknown]
/** The sender's half of the stream is over. */
export type Stop = [type: typeof Msg.stop, cid: number]
export type Return = [type: typeof Msg.return, cid: number, value: unknown]
/** `cid` 0: about the whole link. `error` is a plain `WireError` of `remote-error.ts`. */
export type ErrorMsg = [type: typeof Msg.error, cid: number, error: unknown]
/** Asks to cancel one task; only the channel that started it may. Answered by `cancelAck`. */
export type Cancel = [type: typeof Msg.cancel, cid: number]
/**
 * Answer to `cancel` (with its `cid`) and `cancelActor` (with its `request`): done, no new work. `givenUp` names the
 * tasks that did not react to the cancellation of their actor.
 */
export type CancelAck = [type: typeof Msg.cancelAck, id: number, givenUp?: string[]]
/**
 * Asks to cancel the whole actor. `request` is a number of the asker's own; `budgetMs` is how long the asker will wait for
 * actors below it, so that inner limits pass before outer ones.
 */
export type CancelActor = [type: typeof Msg.cancelActor, request: number, budgetMs: number]
/** The actor is about to end the actors below it, which may take more than the time for an acknowledgement. */
export type CancelPending = [type: typeof Msg.cancelPending, request: number]
/** The receiver of a stream takes so many items more. */
export type Grant = [type: typeof Msg.grant, cid: number, count: number]

export type Message =
  | Hello
  | Proof
  | Spec
  | Start
  | StartAck
  | Started
  | Yield
  | Stop
  | Return
  | ErrorMsg
  | Cancel
  | CancelAck
  | CancelActor
  | CancelPending
  | Grant
