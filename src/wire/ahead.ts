/**
 * What a parent says first, for a child that is told before it dials: its hello and the spec, in the order by which a zygote makes
 * that child. So the child need not wait until its parent has read its hello and answers.
 */
import type { Aid } from './messages.ts'

export interface Ahead {
  parent: Aid
  spec: unknown
}

/** Is it the same when it has been JSON, in which such orders are? What is not is said over the link, as ever. */
export function isPlain(value: unknown): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0)
    case 'object':
      if (value === null) return true
      if (Array.isArray(value)) return value.every(isPlain)
      return Object.getPrototypeOf(value) === Object.prototype && Object.values(value).every(isPlain)
    default:
      return false
  }
}
