/** `harrow/vitest`: the plugin. */
export { HangError, isHarrowError, UsageError } from '../src/errors.ts'
export type { HangOptions, HarrowOptions } from './options.ts'
export { type HarrowPlugin, harrow } from './plugin.ts'
