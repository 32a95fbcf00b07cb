/** `harrow/vitest`: the plugin, and what tests import. */
export { HangError, isHarrowError, LeakError, OrphanError, UsageError } from '../src/errors.ts'
export { type ActorTestContext, type ActorTestOptions, actorTest } from './actors/actor-test.ts'
export { type Daemon, type DaemonOptions, withDaemon } from './actors/daemon.ts'
export { cpuHeadroom } from './actors/headroom.ts'
export { regAddr } from './actors/reg-addr.ts'
export { activeBackend, activeTransport } from './backend.ts'
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
export {
  type BackendArgs,
  hasNestedActors,
  type Mark,
  type MarkMeta,
  type MarkOptions,
  marks,
  noTransport,
  onlyOnBackend,
  skipOnBackend,
  xfailOnBackend,
} from './marks.ts'
export type { HangOptions, HarrowOptions, LeakRule, Severity } from './options.ts'
export { type HarrowPlugin, harrow } from './plugin.ts'
export type { ZygoteOptions } from './zygote-options.ts'
