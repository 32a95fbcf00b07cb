/** How a bad option is refused: what was expected, what came, what is valid. */
import { UsageError } from '../src/errors.ts'

export function record(what: string, value: unknown, keys: readonly string[]): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${what} expects an object, got ${show(value)}. Valid options: ${keys.join(', ')}.`)
  }
  for (const key of Object.keys(value)) {
    if (keys.includes(key)) continue
    const near = nearest(key, keys)
    const guess = near ? ` Did you mean "${near}"?` : ''
    throw new UsageError(`${what} has no option "${key}".${guess} Valid options: ${keys.join(', ')}.`)
  }
  return value
}

export function wrong(name: string, expected: string, came: unknown): UsageError {
  return new UsageError(`harrow() option "${name}" expects ${expected}, got ${show(came)}.`)
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}

/** The valid key that is at most two edits away. */
function nearest(key: string, keys: readonly string[]): string | undefined {
  return keys
    .map((k) => ({ k, d: distance(key.toLowerCase(), k.toLowerCase()) }))
    .filter((x) => x.d <= 2)
    .sort((a, b) => a.d - b.d)[0]?.k
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}
