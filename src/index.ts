/** `harrow`: the actor runtime, its errors, and the dump format. */

export * from './actor/index.ts'
export { renderDump } from './dump/render.ts'
export type { DumpRecord } from './dump/schema.ts'
export { DUMP_FORMAT, parseDumpRecord } from './dump/schema.ts'
export {
  ActorCancelled,
  type ActorEnd,
  ActorFailure,
  ActorGroupError,
  ActorTooSlowError,
  BackendUnavailableError,
  type CancelDetails,
  CancelledError,
  type CancelSource,
  type Confidence,
  type ContextCancelDetails,
  ContextCancelled,
  DeadlineExceeded,
  EndOfStream,
  type ErrorClass,
  HangError,
  type HangErrorDetails,
  HarrowError,
  type HarrowErrorCode,
  InternalError,
  Interrupted,
  isCancelled,
  isHarrowError,
  isMultiCancelled,
  LeakError,
  type LostActor,
  MessagingError,
  ModuleNotExposed,
  MsgTypeError,
  NoResult,
  NoRuntime,
  NotImplementedSpawnMethodError,
  OrphanError,
  ProbeError,
  RemoteActorError,
  type RemoteErrorDetails,
  RuntimeFailure,
  type Site,
  StreamOverrun,
  TaskGroupError,
  TimeoutError,
  TransportClosed,
  type Uid,
  UsageError,
} from './errors.ts'
export type { LiveHandle } from './inspect/facts.ts'
export type { IgnoreRule } from './inspect/resources/ignore.ts'
export type { NameChange } from './inspect/resources/names.ts'
export type { ResourceSnapshot } from './inspect/resources/snapshot.ts'
export {
  type BeforeAfter,
  type ResourceDeltaReport,
  type TrackOptions,
  trackResourceDeltas,
} from './inspect/resources/track.ts'
export { dumpOnHang, dumpOnSignal, type HangWatchOptions, type StopWatch, type WatchOptions } from './probe/watchdog.ts'
export * from './scope/index.ts'
export { DEFAULT_SPAWN_METHOD, SPAWN_METHODS, type SpawnMethod } from './spawn/methods.ts'
export { setSpawnMethod } from './spawn/registry.ts'
export { registerErrorTypes } from './wire/error-box.ts'
export type { Aid } from './wire/messages.ts'
export { registerValueType, type ValueType } from './wire/values.ts'
