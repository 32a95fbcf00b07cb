import type { AsyncStackFrame, AsyncStacks } from './async-stacks.ts'
import type { AsyncFacts, SuspendedFunction } from './facts.ts'
import { isUserScript } from './user-script.ts'

export interface StackFactsOptions {
  /** Is a script the user's? Default: {@link isUserScript}. */
  isUser?: (url: string) => boolean
  /** Marker functions, as in `OwnerRule`; their label cannot be read without a snapshot. */
  isMarker?: (fn: string, url: string) => boolean
  /** Label of what a marker waits for: right as long as one section runs. */
  owner?: string | null
  /** Most functions to list. Default 500. */
  maxListed?: number
}

/** A place in the tree of who waits for whom. */
interface Place {
  frame: AsyncStackFrame
  above: Place | null
  below: Map<string, Place>
  /** Promises whose nearest waiter stands here. */
  waits: number
  owner: string | null
  id: number
}

/**
 * Suspended functions from async stacks alone, for a heap that is too large for a snapshot. Functions that stand at the same
 * `await` below the same waiters are one entry with a count; who holds what they await is not known, and neither are locals.
 * The ids are places in this list, not heap ids.
 */
export function factsFromStacks(stacks: AsyncStacks, options: StackFactsOptions = {}): AsyncFacts {
  const { isUser = isUserScript, isMarker = () => false, owner = null, maxListed = 500 } = options
  const top = new Map<string, Place>()
  const places: Place[] = []
  for (const { frames } of stacks.stacks) {
    let above = null as Place | null
    let level = top
    for (const frame of frames.toReversed()) {
      const key = keyOf(frame)
      let place: Place | undefined = level.get(key)
      if (place === undefined) {
        const marked = frame.at !== null && isMarker(frame.fn, frame.at.url)
        place = {
          frame,
          above,
          below: new Map(),
          waits: 0,
          owner: marked ? owner : (above?.owner ?? null),
          id: places.length + 1,
        }
        level.set(key, place)
        places.push(place)
      }
      above = place
      level = place.below
    }
    if (above !== null) above.waits++
  }
  const notes = [...stacks.notes]
  const listed = places.filter(
    (place) => place.frame.at !== null && (isOf(place, isUser) || hasUserBelow(place, isUser)),
  )
  listed.sort(
    (a, b) =>
      Number(isOf(b, isUser)) - Number(isOf(a, isUser)) ||
      Number(b.owner !== null) - Number(a.owner !== null) ||
      a.id - b.id,
  )
  if (listed.length > maxListed) {
    notes.push(`${listed.length - maxListed} of ${listed.length} places at which functions are suspended are left out`)
    listed.length = maxListed
  }
  const ids = new Set(listed.map(({ id }) => id))
  const suspended = listed.map((place): SuspendedFunction => {
    const { frame, id } = place
    const at = frame.at!
    const awaiter = nearestAbove(place)
    return {
      id,
      fn: frame.fn,
      script: at.url,
      user: isUser(at.url) && !isMarker(frame.fn, at.url),
      definedAt: frame.definedAt && { url: at.url, ...frame.definedAt },
      at,
      awaitedBy: awaiter !== null && ids.has(awaiter.id) ? [awaiter.id] : [],
      owner: place.owner,
      heldBy: [],
      ...(place.below.size === 0 && place.waits > 1 && { count: place.waits }),
    }
  })
  return { suspended, nodes: 0, tookMs: 0, notes }
}

function keyOf({ fn, at, index }: AsyncStackFrame): string {
  return at === null ? `${fn} ${index}` : `${at.url}:${at.line}:${at.column}`
}

function isOf(place: Place, isUser: (url: string) => boolean): boolean {
  return place.frame.at !== null && isUser(place.frame.at.url)
}

function hasUserBelow(place: Place, isUser: (url: string) => boolean): boolean {
  for (const below of place.below.values()) if (isOf(below, isUser) || hasUserBelow(below, isUser)) return true
  return false
}

/** The next function above, past combinators. */
function nearestAbove(place: Place): Place | null {
  let above = place.above
  while (above !== null && above.frame.at === null) above = above.above
  return above
}
