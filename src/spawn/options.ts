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
      throw new UsageError(`option "${key}" of backend ${backend} expects ${expected}, got ${JSON.stringify(value)}.`)
    }
  }
  return options
}

export const isText = (value: unknown): string | undefined => (typeof value === 'string' ? undefined : 'a text')
export const isPolicy = (value: unknown): string | undefined =>
  value === 'cancel' || value === 'stay' ? undefined : "'cancel' or 'stay'"
export const isObject = (value: unknown): string | undefined =>
  typeof value === 'object' && value !== null ? undefined : 'an object'
export const isMs = (value: unknown): string | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 ? undefined : 'milliseconds above 0'
