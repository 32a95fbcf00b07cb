/** `harrow/vitest`: the plugin, and what tests import. */
export { HangError, isHarrowError, LeakError, OrphanError, UsageError } from '../src/errors.ts'
export {
  type Fixtures,
  fixtures,
  type KeepOptions,
  keep,
  type ReapedProcess,
  type Reaper,
  type ResourceDeltaOptions,
  type ResourceDeltaReport,
  type ResourceDeltaValue,
  type ResourceSnapshot,
  reap,
  resourceDeltaFixture,
} from './fixtures.ts'
export type { HangOptions, HarrowOptions, LeakRule, Severity } from './options.ts'
export { type HarrowPlugin, harrow } from './plugin.ts'
