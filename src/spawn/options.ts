import { UsageError } from '../errors.ts'

/** Checks an option bag against the names that a backend knows. */
export function checkBag(
  backend: string,
  options: Readonly<Record<string, unknown>>,
  valid: Readonly<Record<string, (value: unknown) => string | undefined>>,
): Readonly<Record<string, unknown>> {
  for (const [key, value] of Object.entries(options)) {
    const check = Object.hasOwn(valid, key) ? valid[key] : undefined
    if (!check) {
      const names = Object.keys(valid).join(', ') || 'none'
      throw new UsageError(`backend ${backend} has no option "${key}". Valid options: ${names}.`)
    }
    const expected = check(value)
    if (expected !== undefined) {
      throw new UsageError(`option "${key}" of backend ${backend} expects ${expected}, got ${textOf(value)}.`)
    }
  }
  return options
}

/** JSON has no word for what is wrong with numbers most often. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'number' && !Number.isFinite(part) ? String(part) : part,
  )
}

export const isText = (value: unknown): string | undefined => (typeof value === 'string' ? undefined : 'a text')
export const isPolicy = (value: unknown): string | undefined =>
  value === 'cancel' || value === 'stay' ? undefined : "'cancel' or 'stay'"
const isObject = (value: unknown): string | undefined =>
  typeof value === 'object' && value !== null ? undefined : 'an object'
/** Limits of a thread's heap and stack, as Node has them; it leaves out without a word what is no number. */
export const isResourceLimits = (value: unknown): string | undefined => {
  const names = ['maxOldGenerationSizeMb', 'maxYoungGenerationSizeMb', 'codeRangeSizeMb', 'stackSizeMb']
  const fits =
    isObject(value) === undefined &&
    Object.entries(value as object).every(
      ([name, limit]) => names.includes(name) && typeof limit === 'number' && Number.isFinite(limit) && limit > 0,
    )
  return fits ? undefined : `an object of megabytes above 0 by name (${names.join(', ')})`
}
export const isMs = (value: unknown): string | undefined =>
  typeof value === 'number' && value > 0 && value <= 2 ** 31 - 1
    ? undefined
    : 'milliseconds above 0, at most 2147483647'
