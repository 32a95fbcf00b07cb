/** Errors between actors: who threw, who passed on, who cancelled (R-301 to R-309). */
import {
  ActorCancelled,
  ContextCancelled,
  isHarrowError,
  RemoteActorError,
  type RemoteErrorDetails,
  StreamOverrun,
  TransportClosed,
  thrownText,
  type Uid,
} from '../errors.ts'
import { boxAny, boxError, cut, errorClass, isError, typeName, unboxAny } from './error-box.ts'
import { travels } from './values.ts'

/** An error on the wire. */
export interface WireError {
  srcUid: Uid
  srcType: string
  /** Class of what the last hop threw. */
  boxedType: string
  relayPath: Uid[]
  message: string
  stack: string
  /** Stable code of harrow's own errors. */
  code?: string
  /** Who asked for a cancellation. */
  canceller?: Uid
  /** Who overran whom. */
  sender?: Uid
  /** The error as it was thrown in the first actor. */
  source: unknown
}

/**
 * @param error anything that was thrown
 * @param self the actor that sends it
 */
export function packError(error: unknown, self: Uid): WireError {
  if (error instanceof ContextCancelled) {
    return {
      srcUid: error.srcUid ?? self,
      srcType: error.name,
      boxedType: error.name,
      relayPath: [...error.relayPath, self],
      message: cut(error.message),
      stack: cut(error.stack ?? ''),
      code: error.code,
      ...(error.canceller && { canceller: error.canceller }),
      source: error.cause === undefined ? null : boxAny(error.cause, travels),
    }
  }
  if (error instanceof RemoteActorError) {
    // It is passed on: its origin stays, and what travels is a box in a box.
    return {
      srcUid: error.srcUid,
      srcType: error.srcTypeName,
      boxedType: error instanceof StreamOverrun && error.relayPath.length === 0 ? 'StreamOverrun' : 'RemoteActorError',
      relayPath: [...error.relayPath, self],
      message: cut(error.remoteMessage),
      stack: cut(error.remoteStack),
      source: boxAny(error.unwrap(), travels),
    }
  }
  const known = isError(error)
  const type = known ? typeName(error) : 'Error'
  return {
    srcUid: self,
    srcType: type,
    boxedType: type,
    relayPath: [self],
    message: known ? cut(error.message) : `thrown: ${cut(thrownText(error))}`,
    stack: known ? cut(error.stack ?? '') : '',
    ...(isHarrowError(error) && { code: error.code }),
    source: known ? { error: boxError(error, travels) } : boxAny(error, travels),
  }
}

/** Never throws, whatever the peer has sent. */
export function unpackError(data: unknown, _here: Uid): Error {
  const wire = check(data)
  const type = wire.boxedType
  if (type === 'ContextCancelled' || type === 'ActorCancelled') {
    const Class = type === 'ActorCancelled' ? ActorCancelled : ContextCancelled
    return new Class(wire.message, {
      ...(wire.canceller && { canceller: wire.canceller }),
      srcUid: wire.srcUid,
      relayPath: wire.relayPath,
      ...(wire.source !== null && { cause: unboxAny(wire.source) }),
    })
  }
  const details: RemoteErrorDetails = {
    srcUid: wire.srcUid,
    srcTypeName: wire.srcType,
    boxedTypeName: type,
    boxedType: errorClass(type),
    srcType: errorClass(wire.srcType),
    relayPath: wire.relayPath,
    remoteStack: wire.stack,
    remoteMessage: wire.message,
    rebuild: () => unboxAny(wire.source),
  }
  const [name] = wire.srcUid
  const text = `${wire.srcType} in actor ${name}: ${wire.message}`
  const error =
    type === 'StreamOverrun' ? new StreamOverrun(wire.message, details) : new RemoteActorError(text, details)
  // The turn that took the message in says nothing to anybody: until the call is known, the frames over there do.
  setFrames(error, frames(wire.stack))
  return error
}

/** Lets the stack of an error that came from elsewhere begin at the code that called there (R-302). */
export function setFrames(error: Error, lines: string): void {
  if (error instanceof RemoteActorError || error instanceof TransportClosed)
    error.stack = `${error.name}: ${error.message}${lines && `\n${lines}`}`
}

const frames = (stack: string): string =>
  stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n')

function check(data: unknown): WireError {
  const wire = (typeof data === 'object' && data !== null ? data : {}) as Partial<WireError>
  const text = (value: unknown, otherwise: string): string => (typeof value === 'string' ? value : otherwise)
  const boxedType = text(wire.boxedType, 'Error')
  return {
    srcUid: uid(wire.srcUid) ?? ['unknown', ''],
    srcType: text(wire.srcType, boxedType),
    boxedType,
    relayPath: Array.isArray(wire.relayPath)
      ? wire.relayPath.flatMap((one) => (uid(one) ? [uid(one) as Uid] : []))
      : [],
    message: text(wire.message, ''),
    stack: text(wire.stack, ''),
    ...(uid(wire.canceller) && { canceller: uid(wire.canceller) as Uid }),
    source: wire.source ?? null,
  }
}

function uid(value: unknown): Uid | undefined {
  if (!Array.isArray(value) || typeof value[0] !== 'string' || typeof value[1] !== 'string') return undefined
  return [value[0], value[1]]
}
