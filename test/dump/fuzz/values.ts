/** JSON-like values that nobody expects: for inspector answers and dump files. */
import type { Random } from './random.ts'
import { hostileText } from './snapshots.ts'

/** A value of any kind, a few levels deep at most. */
export function anyValue(random: Random, depth = 3): unknown {
  switch (random.below(depth > 0 ? 14 : 9)) {
    case 0:
      return null
    case 1:
      return random.chance(0.5)
    case 2:
      return random.pick([0, -1, 1, 0.5, 2 ** 31, 2 ** 53, -(2 ** 53), 1e308, -1e308, 5e-324, 8.64e15, -0])
    case 3:
    case 4:
      return hostileText(random)
    case 5:
      return String(random.below(1000))
    case 6:
      return []
    case 7:
      return {}
    case 8:
      return random.below(1000)
    case 9:
      return Array.from({ length: random.below(6) }, () => anyValue(random, depth - 1))
    case 10: {
      // A single one: lists of lists of lists grow out of all bounds.
      const any = anyValue(random, 0)
      const one = typeof any === 'string' ? any.slice(0, 50) : any
      return Array.from({ length: random.skewed(3000) }, () => one)
    }
    case 11:
      return nested(random)
    default:
      return Object.fromEntries(
        Array.from({ length: random.below(6) }, () => [random.pick(KEYS), anyValue(random, depth - 1)]),
      )
  }
}

const KEYS = [
  'result',
  'value',
  'type',
  'subtype',
  'description',
  'name',
  'objectId',
  'preview',
  'properties',
  'entries',
  'internalProperties',
  'exceptionDetails',
  'exception',
  'objects',
  'length',
  'toString',
  'then',
  'toJSON',
  'constructor',
]

/** Lists in lists, or objects in objects. */
function nested(random: Random): unknown {
  let value: unknown = 1
  const list = random.chance(0.5)
  const key = random.pick(KEYS)
  for (let depth = random.skewed(MOST_DEPTH); depth > 0; depth--) value = list ? [value] : { [key]: value }
  return value
}

type Container = Record<string | number, unknown>

/** A copy in which some places, on any level, hold something else, are gone, or are there many times. */
export function damageValue(value: unknown, random: Random): unknown {
  const copy = { root: structuredClone(value) } as Container
  let left = MOST_VALUES
  const affordable = (one: unknown, times: number): boolean => {
    left -= sizeOf(one, left / Math.max(1, times)) * times
    return left > 0
  }
  if (random.chance(0.2)) flood(copy, random, affordable)
  for (let changes = 1 + random.skewed(30); changes > 0; changes--) {
    const [holder, key] = placeIn(copy, random)
    const old = holder[key]
    switch (random.below(6)) {
      case 0:
        delete holder[key]
        break
      case 1:
        if (Array.isArray(old) && old.length > 0) {
          const one = random.pick(old)
          const length = random.chance(0.3) ? random.below(199_000) : random.skewed(3000)
          if (affordable(one, length)) holder[key] = Array.from({ length }, () => one)
        }
        break
      case 2:
        if (typeof old === 'string') holder[key] = hostileText(random)
        else if (typeof old === 'number') holder[key] = random.pick([0, -1, 1e308, -1e308, 2 ** 53, 0.5, old + 1])
        break
      case 3: {
        const [other, otherKey] = placeIn(copy, random)
        // A copy: what lies inside itself is no JSON.
        if (affordable(other[otherKey], 1)) holder[key] = copyOf(other[otherKey])
        break
      }
      case 4:
        if (typeof old === 'object' && old !== null && !Array.isArray(old))
          (old as Container)[random.pick(KEYS)] = anyValue(random)
        break
      default:
        holder[key] = anyValue(random)
    }
  }
  // What was put into an object that stands in a list many times is there many times as well.
  return sizeOf(copy.root, MOST_VALUES) > MOST_VALUES ? null : copy.root
}

/** Makes one of all lists very long. */
function flood(root: Container, random: Random, affordable: (one: unknown, times: number) => boolean): void {
  const lists: unknown[][] = []
  const open: unknown[] = [root]
  for (const one of open) {
    if (typeof one !== 'object' || one === null) continue
    if (Array.isArray(one) && one.length > 0) lists.push(one)
    open.push(...Object.values(one).slice(0, 1000))
  }
  if (lists.length === 0) return
  const list = random.pick(lists)
  const times = random.below(150_000)
  if (affordable(list[0], times)) for (let i = 0; i < times; i++) list.push(list[i % Math.min(list.length, 5)])
}

/** What lies deeper than this cannot be copied. */
const MOST_DEPTH = 1000

function copyOf(value: unknown): unknown {
  try {
    return structuredClone(value)
  } catch {
    return null
  }
}

/** As many values as a file of some megabytes has; what repeats itself grows out of all bounds otherwise. */
const MOST_VALUES = 400_000

/** How many values lie in this one, itself included; counted no further than `limit`. */
function sizeOf(value: unknown, limit: number): number {
  let size = 0
  const open = [value]
  while (open.length > 0 && size <= limit) {
    const one = open.pop()
    size += typeof one === 'string' ? 1 + one.length / 16 : 1
    if (typeof one === 'object' && one !== null) for (const inner of Object.values(one)) open.push(inner)
  }
  return size
}

/** Some place in a value: goes down at random and stops at random. */
function placeIn(root: Container, random: Random): [holder: Container, key: string | number] {
  let holder = root
  let key: string | number = 'root'
  for (let depth = random.below(9); depth > 0; depth--) {
    const inner: unknown = holder[key]
    if (typeof inner !== 'object' || inner === null) break
    const keys: string[] = Object.keys(inner)
    if (keys.length === 0) break
    holder = inner as Container
    key = random.pick(keys)
  }
  return [holder, key]
}
