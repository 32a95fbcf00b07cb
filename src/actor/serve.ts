/** What happens when a peer starts something here. */
import {
  type CancelledError,
  ContextCancelled,
  isCancelled,
  MsgTypeError,
  RuntimeFailure,
  TransportClosed,
  thrownText,
  type Uid,
} from '../errors.ts'
import { currentScope, runDetached, Task } from '../scope/index.ts'
import { cut } from '../wire/error-box.ts'
import { type Kind, Msg, type Start, type StartOptions } from '../wire/messages.ts'
import { packError } from '../wire/remote-error.ts'
import type { Actor } from './actor.ts'
import { Context } from './context.ts'
import { LIMITS } from './deadlines.ts'
import { log } from './log.ts'
import type { Endpoint } from './modules.ts'
import type { Peer, Served } from './peer.ts'
import { selfMethod } from './self-methods.ts'

/** Starts the task that a `start` message asks for; what is wrong with it goes back to the caller, and harms nobody else. */
export function serveStart(actor: Actor, peer: Peer, message: Start): void {
  const [, cid, module, name, args, wanted, options] = message
  if (module === 'self' && !LASTING.has(name)) {
    void serveSelf(actor, peer, cid, name, args)
    return
  }
  if (actor.isCancelled) {
    const reason = actor.cancelReason as CancelledError
    sendError(actor, peer, cid, cancellation(actor, reason))
    return
  }
  let endpoint: Endpoint
  try {
    endpoint =
      module === 'self' ? { fn: selfMethod(actor, peer, name), kind: 'func' } : actor.modules.find(module, name)
    checkKind(name, endpoint.kind, wanted)
  } catch (error) {
    sendError(actor, peer, cid, error)
    return
  }
  const { fn, kind } = endpoint
  if (kind === 'func') {
    const call = new ServedCall(actor, peer, cid, name)
    peer.served.set(cid, call)
    actor.service.begin(call, () => fn(...args))
  } else new ServedContext(actor, peer, cid, name, fn, args, kind, creditOf(options))
}

/** How many items a caller takes ahead: what is no such number would be a stream without back-pressure. */
function creditOf(options: StartOptions | null): number {
  const count: unknown = options?.buffer
  return Number.isSafeInteger(count) && (count as number) > 0 ? (count as number) : LIMITS.streamBuffer
}

/** Methods of the runtime that wait for something; the others are answered also by an actor that is ending. */
const LASTING: ReadonlySet<string> = new Set(['waitFor'])

async function serveSelf(actor: Actor, peer: Peer, cid: number, name: string, args: unknown[]): Promise<void> {
  try {
    const method = selfMethod(actor, peer, name)
    const value = await runDetached({ name: `self.${name}`, host: actor }, async () => method(...args))
    sendResult(actor, peer, cid, value)
  } catch (error) {
    sendError(actor, peer, cid, error)
  }
}

const HOW: Record<Kind, string> = {
  func: 'call() or run()',
  context: 'openContext()',
  generator: 'openStreamFrom()',
}

function checkKind(name: string, kind: Kind, wanted: Kind | null): void {
  if (wanted === null || wanted === kind) return
  throw new TypeError(
    `${name} is ${kind === 'func' ? 'a function' : `a ${kind}`}: use ${HOW[kind]}, not ${HOW[wanted]}.`,
  )
}

/** A call of a function: no context, no stream. It is its own task. */
class ServedCall extends Task<unknown> implements Served {
  readonly #actor: Actor
  readonly #peer: Peer
  readonly #cid: number

  constructor(actor: Actor, peer: Peer, cid: number, name: string) {
    super(actor.service.scope, name)
    this.#actor = actor
    this.#peer = peer
    this.#cid = cid
  }

  get label(): string {
    return `call ${this.name} for ${this.#peer.aid.name}`
  }

  get ended(): Promise<void> {
    return this.result.then(ignore, ignore)
  }

  cancelBy(by: Uid): void {
    this.cancel(
      new ContextCancelled(`task ${this.name} was cancelled by ${by[0]}`, { canceller: by, srcUid: this.#actor.uid }),
    )
  }

  lost(): void {
    this.cancel(new ContextCancelled(`the channel to ${this.#peer.aid.name}, which had started ${this.name}, is gone`))
  }

  override returned(value: unknown): void {
    this.#peer.served.delete(this.#cid)
    sendResult(this.#actor, this.#peer, this.#cid, value)
    super.returned(undefined)
  }

  override threw(error: unknown): void {
    this.#peer.served.delete(this.#cid)
    const told = this.cancelled && isCancelled(error) ? cancellation(this.#actor, this.reason) : error
    sendError(this.#actor, this.#peer, this.#cid, told)
    super.threw(error)
  }
}

function ignore(): void {}

/** A context or an async generator: both have a stream. */
class ServedContext implements Served {
  readonly #actor: Actor
  readonly #peer: Peer
  readonly #cid: number
  readonly #context: Context<unknown, unknown, unknown, unknown>
  readonly #task: Task<unknown>
  readonly ended: Promise<void>

  constructor(
    actor: Actor,
    peer: Peer,
    cid: number,
    name: string,
    fn: (...args: unknown[]) => unknown,
    args: unknown[],
    kind: Kind,
    buffer: number,
  ) {
    this.#actor = actor
    this.#peer = peer
    this.#cid = cid
    const context = new Context<unknown, unknown, unknown, unknown>(peer, 'child', name, LIMITS.streamBuffer, false)
    context.cid = cid
    context.mailbox.setCredit(buffer)
    this.#context = context
    peer.served.set(cid, this)
    peer.reply([Msg.startAck, cid, kind])
    this.#task = actor.service.spawn(
      async () => {
        context.bind(currentScope())
        if (kind === 'context') return await fn(context, ...args)
        context.started()
        await context.openStream(async (stream) => {
          for await (const item of fn(...args) as AsyncIterable<unknown>) await stream.send(item)
        })
        return undefined
      },
      { name },
    )
    this.ended = this.#task.result.then(
      (value) => this.#done(value),
      (error) => this.#failed(error),
    )
  }

  get label(): string {
    return this.#context.label
  }

  cancelBy(by: Uid): void {
    this.#task.scope.cancel(
      new ContextCancelled(`task ${this.#context.name} was cancelled by ${by[0]}`, {
        canceller: by,
        srcUid: this.#actor.uid,
      }),
    )
  }

  item(value: unknown): void {
    this.#context.item(value)
  }

  stop(): void {
    this.#context.stop()
  }

  granted(count: number): void {
    this.#context.granted(count)
  }

  /** The caller complains: our stream has overrun it. */
  failed(error: unknown): void {
    this.#context.failed(error)
  }

  lost(): void {
    const reason = new TransportClosed(`the channel to ${this.#peer.aid.name} is gone`, { by: 'peer' })
    this.#context.lost(reason)
    this.#task.scope.cancel(
      new ContextCancelled(`the channel to ${this.#peer.aid.name}, which had opened ${this.#context.name}, is gone`, {
        cause: reason,
      }),
    )
  }

  #done(value: unknown): void {
    this.#close()
    sendResult(this.#actor, this.#peer, this.#cid, value)
  }

  #failed(error: unknown): void {
    this.#close()
    const { scope } = this.#task
    const context = this.#context
    let told = error
    if (scope.cancelled && isCancelled(error)) {
      // What had gone wrong before the scope was cancelled beats the cancellation (R-266).
      told =
        context.isRemote(error) && !(context.remoteError instanceof TransportClosed)
          ? context.remoteError
          : cancellation(this.#actor, scope.reason)
    }
    context.localError = told
    sendError(this.#actor, this.#peer, this.#cid, told)
  }

  #close(): void {
    this.#peer.served.delete(this.#cid)
    this.#context.finish()
  }
}

/** What the caller is told of a cancelled task: who cancelled it, and that it ran here (R-260, R-264). */
export function cancellation(actor: Actor, reason: CancelledError | undefined): ContextCancelled {
  if (reason instanceof ContextCancelled) {
    if (reason.srcUid) return reason
    return new ContextCancelled(reason.message, {
      ...(reason.canceller && { canceller: reason.canceller }),
      srcUid: actor.uid,
      cause: reason.cause,
    })
  }
  return new ContextCancelled(reason?.message ?? 'cancelled', {
    canceller: actor.uid,
    srcUid: actor.uid,
    ...(reason?.cause !== undefined && { cause: reason.cause }),
  })
}

function sendResult(actor: Actor, peer: Peer, cid: number, value: unknown): void {
  try {
    peer.reply([Msg.return, cid, value])
  } catch (error) {
    sendError(actor, peer, cid, error)
  }
}

/** Sends what a task threw. An error that cannot be encoded is told as far as it can (R-005, R-320): whoever called has an answer. */
export function sendError(actor: Actor, peer: Peer, cid: number, error: unknown): void {
  try {
    peer.reply([Msg.error, cid, packError(error, actor.uid)])
  } catch (cause) {
    log('error', `an error could not be sent to ${peer.aid.name}: ${thrownText(cause)}`)
    const plain = cause instanceof MsgTypeError ? cause.message : 'it could not be encoded'
    sendStand(actor, peer, cid, `${cut(thrownText(error))} (${cut(plain)})`)
  }
}

function sendStand(actor: Actor, peer: Peer, cid: number, text: string): void {
  try {
    peer.reply([Msg.error, cid, packError(new RuntimeFailure(text), actor.uid)])
  } catch {
    peer.reply([Msg.error, cid, packError(new RuntimeFailure('an error that could not be sent'), actor.uid)])
  }
}
