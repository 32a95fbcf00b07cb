/** `harrow`: errors and the dump format. The runtime joins here. */

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
  ProbeError,
  type Site,
  UsageError,
} from './errors.ts'
