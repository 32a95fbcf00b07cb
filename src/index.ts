/** `harrow`: errors and the dump format. The runtime joins here. */

export * from './actor/index.ts'
export { renderDump } from './dump/render.ts'
export type { DumpRecord } from './dump/schema.ts'
export { DUMP_FORMAT, parseDumpRecord } from './dump/schema.ts'
export {
  type Confidence,
  HangError,
  type HangErrorDetails,
  HarrowError,
  type HarrowErrorCode,
  InternalError,
  isHarrowError,
  LeakError,
  OrphanError,
  ProbeError,
  type Site,
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
export * from './scope/index.ts'
