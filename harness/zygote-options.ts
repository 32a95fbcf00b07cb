/** Options of the pool `zygote`, and their checks. */
import { UsageError } from '../src/errors.ts'
import { record, wrong } from './option-checks.ts'

/** Options of the pool `zygote`. */
export interface ZygoteOptions {
  /**
   * What is loaded before the fork beside vitest and the test environment: paths or names of packages, or `'auto'`: those
   * that took the longest to import in earlier runs. Only code in `node_modules` is ever loaded.
   * @default 'auto'
   */
  warm?: 'auto' | readonly string[]
  /**
   * Test files (globs, relative to the root) that run in ordinary child processes.
   * @default []
   */
  exclude?: readonly string[]
  /**
   * `true`: files wait until the zygote is ready; `false`: until then they run in ordinary child processes, and where there are
   * too few of them to be worth its start, all of them do.
   * @default false
   */
  wait?: boolean
}

/** With every default filled in. */
export type ResolvedZygote = Required<ZygoteOptions>

const ZYGOTE_KEYS: readonly string[] = ['warm', 'exclude', 'wait']

/** @param off nothing is supervised */
export function zygoteOf(pool: unknown = 'wrap', zygote: unknown, off: boolean): ResolvedZygote | null {
  if (pool !== 'wrap' && pool !== 'zygote') throw wrong('pool', "'wrap' or 'zygote'", pool)
  const {
    warm = 'auto',
    exclude = [],
    wait = false,
  } = record('harrow() option "zygote"', zygote ?? {}, ZYGOTE_KEYS) as Required<ZygoteOptions>
  if (warm !== 'auto' && !isListOfNames(warm)) throw wrong('zygote.warm', "'auto' or a list of modules", warm)
  if (!isListOfNames(exclude)) throw wrong('zygote.exclude', 'a list of globs', exclude)
  if (typeof wait !== 'boolean') throw wrong('zygote.wait', 'true or false', wait)
  if (pool === 'wrap' && zygote !== undefined) {
    throw new UsageError(
      'harrow() options contradict each other: "zygote" is about the pool zygote, and "pool" is not \'zygote\'. Leave it out, or set pool: \'zygote\'.',
    )
  }
  if (pool === 'zygote' && off) {
    throw new UsageError(
      'harrow() options contradict each other: pool \'zygote\' needs the supervision of workers, and "hang" is false. Leave one of them out.',
    )
  }
  return pool === 'zygote' ? { warm, exclude, wait } : null
}

function isListOfNames(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === 'string' && one !== '')
}
