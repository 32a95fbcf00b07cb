/** `harrow`: errors and the dump format. The runtime joins here. */
export type { DumpRecord } from './dump/schema.ts'
export { parseDumpRecord, DUMP_FORMAT } from './dump/schema.ts'
export { renderDump } from './dump/render.ts'
export {
  type Confidence,
  HangError,
  type HangErrorDetails,
  HarrowError,
  type HarrowErrorCode,
  InternalError,
  isHarrowError,
  ProbeError,
  type Site,
  UsageError,
} from './errors.ts'
