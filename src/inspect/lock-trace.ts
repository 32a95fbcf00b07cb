/**
 * Who waits for a lock and who has it, from a run with promises traced: the code of the function that is waited in tells
 * that it makes its callers queue up, the history of its calls tells who got through, and the counts of the code after
 * these calls tell who has not given it back.
 */
import type { CallCounts } from './call-counts.ts'
import type { RawFrame } from './facts.ts'
import { type Acquisition, acquisitionsOf, type History } from './lock-history.ts'
import { CountedCode, LockLayers } from './lock-layers.ts'
import {
  callAt,
  type OpaqueHistory,
  type OpaqueWait,
  opaqueCallOf,
  opaqueHistory,
  opaqueLayers,
} from './lock-opaque.ts'
import { type Primitive, primitiveOf } from './lock-shape.ts'
import type { WaitChain } from './promise-graph.ts'
import type { PromiseRecord, PromiseRecords } from './promise-records.ts'

/** Somebody who took the lock and has not given it back. */
export interface LockHolder {
  /** Where it was taken, in the code that uses the lock. */
  taken: RawFrame
  /** So many times it was taken there and not given back. */
  missing: number
  /**
   * `flow`: what waits has it itself, further out; `waits`: a function that waits for the same kind of lock; `left`: a
   * function that has ended or that waits for something else.
   */
  by: 'flow' | 'waits' | 'left'
}

/** A hung wait for a lock, semaphore, pool or limiter. */
export interface LockWait {
  /** Class or factory of the lock, '' when it has none. */
  lock: string
  style: Primitive['style']
  /** Name of the function that the using code calls: `acquire`, `connect`, `limit`; '' when it has none. */
  method: string
  /** The `await`s inside the lock, innermost first. */
  inner: RawFrame[]
  /** The `await` of the using code. */
  call: RawFrame
  /** The `await`s further out, innermost first. */
  outer: RawFrame[]
  /** Nobody awaits the call itself: its promise was returned to what is awaited at the first of `outer`. */
  deep?: true
  /** The most likely one first; never empty. */
  holders: LockHolder[]
}

/** What the traced run says of locks. */
export interface LockFacts {
  waits: LockWait[]
  /** Innermost `await`s of the hung section that wait for no lock. */
  others: RawFrame[]
}

const MOST_WAITS = 12
const MOST_BIRTH_FRAMES = 4

/**
 * @param chains innermost `await`s with those above them
 * @param counts of the whole run; they are taken here
 */
export function readLocks(records: PromiseRecords, chains: readonly WaitChain[], counts: CallCounts): LockFacts {
  const facts: LockFacts = { waits: [], others: [] }
  if (chains.length === 0) return facts
  const code = new CountedCode(counts.take())
  for (const chain of chains.slice(0, MOST_WAITS)) {
    const primitive = primitiveBelow(records, chain, code)
    const opaque = primitive === undefined ? opaqueCallOf(records, chain[0]!.target, code) : undefined
    const wait = primitive
      ? readWait(records, chain, new LockLayers(primitive, code), code, chains)
      : opaque && readWait(records, chain, opaqueLayers(opaque, code), code, chains, opaque)
    if (wait) facts.waits.push(wait)
    else if (chain[0]?.awaited[0]) facts.others.push(chain[0].awaited[0])
  }
  for (const wait of facts.waits) {
    if (wait.style === 'chain') skipWaiters(wait, facts.waits)
    for (const holder of wait.holders) {
      if (holder.by !== 'left') continue
      const other = facts.waits.find(
        (one) => one !== wait && [one.call, ...one.outer].some((frame) => code.sameFunction(frame, holder.taken)),
      )
      if (other) holder.by = 'waits'
    }
  }
  return facts
}

/** In a chain each waits for the one before, who may be waiting as well: the first of them is wanted. */
function skipWaiters(wait: LockWait, waits: readonly LockWait[]): void {
  const seen = new Set([wait])
  for (;;) {
    const taken = wait.holders[0]?.taken
    const other = waits.find((one) => !seen.has(one) && taken !== undefined && isSameLine(one.call, taken))
    if (other === undefined) return
    seen.add(other)
    wait.holders = other.holders
  }
}

/** The lock in whose code the awaited promise was made, or the innermost `await` stands. */
function primitiveBelow(records: PromiseRecords, chain: WaitChain, code: CountedCode): Primitive | undefined {
  const first = chain[0]!
  const births: RawFrame[] = []
  let at: number | undefined = first.target
  for (let hops = 0; at !== undefined && hops < 8; hops++) {
    const record = records.promises.get(at)
    births.push(...(record?.created.slice(0, MOST_BIRTH_FRAMES) ?? []))
    at = record?.follows
  }
  for (const frame of [first.awaited[0], ...births]) {
    const found = code.at(frame)
    const primitive = found?.block ? primitiveOf(found.script.text, found.block) : undefined
    if (primitive) return primitive
  }
  return undefined
}

function readWait(
  records: PromiseRecords,
  chain: WaitChain,
  layers: LockLayers,
  code: CountedCode,
  chains: readonly WaitChain[],
  opaque?: OpaqueWait,
): LockWait | undefined {
  // Functions of packages have no frames of the user's.
  const steps = chain.filter(({ awaited }) => awaited[0] !== undefined)
  const awaits = steps.map(({ awaited }) => awaited[0]!)
  const end = awaits.findIndex((frame) => !layers.has(frame))
  const again = callInside(steps, layers, code, end < 0 ? awaits.length : end)
  const size = again?.size ?? end
  const born = records.promises.get(chain[0]!.target)?.created ?? []
  const inner = size < 0 ? awaits : awaits.slice(0, size)
  const deep = opaque?.deep === true && again === undefined
  const call = deep
    ? opaque.frame
    : (again?.call ?? (size < 0 ? born.find((frame) => !layers.has(frame)) : awaits[size]))
  if (call === undefined) return undefined
  const outer = size < 0 ? [] : awaits.slice(again || deep ? size : size + 1)
  const entered = [...born, ...(chain[0]!.owner?.created ?? []), ...inner].filter((frame) => layers.has(frame))
  const history = opaque
    ? opaqueHistory(records, opaque, chain, layers, code, chains)
    : acquisitionsOf(records.calls, layers, code, queued(chains, layers))
  const holders = holdersOf(records, { call, outer, chain }, layers, code, history)
  if (holders.length === 0) return undefined
  const method = (size > 0 ? awaits[size - 1]?.fn : undefined) || entered.at(-1)?.fn || [...layers.taking].at(-1) || ''
  const { owner, style } = layers.primitive
  return {
    lock: owner,
    style,
    method: method.split('.').at(-1) ?? '',
    inner,
    call,
    outer,
    ...(deep && { deep: true as const }),
    holders,
  }
}

/**
 * A function that the lock runs for its caller and that is not async itself, such as `() => withKey(to, work)`, stands in
 * no `await`: where the code of the lock comes twice in a row, the second call was made by such a function.
 */
function callInside(
  chain: WaitChain,
  layers: LockLayers,
  code: CountedCode,
  most: number,
): { size: number; call: RawFrame } | undefined {
  for (let size = 1; size < most; size++) {
    const frame = chain[size]!.awaited[0]
    if (!chain.slice(0, size).some(({ awaited }) => code.sameFunction(awaited[0], frame))) continue
    const call = chain[size - 1]!.owner?.created.find((one) => !layers.has(one))
    return call && { size, call }
  }
  return undefined
}

function isSameLine({ at: a }: RawFrame, { at: b }: RawFrame): boolean {
  return a !== null && b !== null && a.line === b.line && a.url === b.url
}

function isAfter({ at: a }: RawFrame, { at: b }: RawFrame): boolean {
  return a !== null && b !== null && a.line > b.line
}

/** Ids of the promises whose callers stand in the queue: what the lock's functions will answer with. */
function queued(chains: readonly WaitChain[], layers: LockLayers): Set<number> {
  const ids = new Set<number>()
  for (const chain of chains) {
    ids.add(chain[0]!.target)
    for (const { awaited, owner } of chain) {
      if (!layers.has(awaited[0])) break
      if (owner !== undefined) ids.add(owner.id)
    }
  }
  return ids
}

function holdersOf(
  records: PromiseRecords,
  { call, outer, chain }: { call: RawFrame; outer: RawFrame[]; chain: WaitChain },
  layers: LockLayers,
  code: CountedCode,
  history: History & Partial<Pick<OpaqueHistory, 'around' | 'crossed'>>,
): LockHolder[] {
  const holders: LockHolder[] = []
  const add = (taken: RawFrame | undefined, missing: number, by: LockHolder['by']): void => {
    if (taken?.at == null) return
    const known = holders.find((one) => isSameLine(one.taken, taken))
    if (known === undefined) holders.push({ taken, missing, by })
    else if (by === 'flow') known.by = by
  }
  // The flow stands inside a function that it runs under the same lock.
  const around = outer.findIndex((frame) => layers.has(frame))
  const beyond = around < 0 ? undefined : takenBeyond(outer, around, chain, layers)
  const flow = [call, ...outer]
  // Of the same function there may be several calls: only one that has passed the place holds it itself.
  const passed = (site: RawFrame): boolean =>
    flow.some((frame) => code.sameFunction(frame, site) && isAfter(frame, site))
  const own = ({ site }: Acquisition): boolean => passed(site)
  if (layers.primitive.style === 'chain') {
    // The promise that is waited for was left by the one who took the lock before.
    const before = turnBefore(records, chain[0]!.target, layers, code)
    if (before === undefined) return []
    add(before, 1, passed(before) || encloses(before, call, code) ? 'flow' : 'left')
  }
  // Another lock of the same kind, by its name: somebody else has the wanted one, if that can be told.
  const other = beyond !== undefined && isOther(history.receiverAt(call), history.receiverAt(beyond))
  if (beyond !== undefined && !other) add(beyond, 1, 'flow')
  const inFlow = (frame: RawFrame): LockHolder['by'] => (history.crossed?.(frame) ? 'waits' : 'flow')
  for (const frame of history.around ?? []) add(frame, 1, inFlow(frame))
  if (history.free) return holders
  if (other) {
    const same = history.sites.filter(
      (one) => one.receiver === history.receiverAt(call) && one.missing + one.running > 0,
    )
    for (const one of same) add(one.site, 1, 'waits')
    add(beyond, 1, 'flow')
  }
  const missing = history.sites.filter((one) => one.missing > 0)
  const receiver = history.receiverAt(call)
  const same = missing.filter((one) => one.receiver !== '' && one.receiver === receiver)
  const groups = [
    same.filter(own),
    same.filter((one) => !own(one)),
    missing.filter((one) => !own(one)),
    missing,
    history.sites.filter((one) => one.running > 0),
  ]
  for (const group of groups) {
    for (const one of group.toSorted((a, b) => b.missing - a.missing || b.last - a.last)) {
      add(
        one.site,
        Math.max(1, one.missing),
        own(one) && (group === groups[0] || history.sites.length === 1) ? inFlow(one.site) : 'left',
      )
    }
  }
  return holders
}

/** Is this place within the arguments of the call at the other one: in a function that the call was given? */
function encloses(taking: RawFrame, place: RawFrame, code: CountedCode): boolean {
  const outer = callAt(taking, code)
  const inner = code.at(place)
  return (
    outer?.runs === true && inner?.script === outer.script && inner.offset > outer.offset && inner.offset < outer.end
  )
}

/** Where the flow took the lock under which it runs: the call in the code that uses it. */
function takenBeyond(
  outer: readonly RawFrame[],
  around: number,
  chain: WaitChain,
  layers: LockLayers,
): RawFrame | undefined {
  const step = chain.find(({ awaited }) => awaited[0] === outer[around])
  return step?.owner?.created.find((frame) => !layers.has(frame)) ?? outer.slice(around).find((one) => !layers.has(one))
}

function isOther(wanted: string, held: string): boolean {
  return wanted !== '' && held !== '' && wanted !== held
}

/**
 * Where the one before took its turn: the user's frame at the birth of the promise that it is to settle. Undefined when no
 * promise of the lock's waiting functions is waited for: then it is a result that several wait for, and no turn.
 */
function turnBefore(
  records: PromiseRecords,
  target: number,
  layers: LockLayers,
  code: CountedCode,
): RawFrame | undefined {
  let found: RawFrame | undefined
  const seen = new Set<number>()
  for (let at: number | undefined = target; at !== undefined && !seen.has(at); ) {
    seen.add(at)
    const record: PromiseRecord | undefined = records.promises.get(at)
    const created = record?.created ?? []
    const first = created.find((frame) => layers.primitive.near(code.at(frame)?.block ?? null))
    if (layers.isWaiting(first)) found = created.find((frame) => !layers.has(frame)) ?? found
    at = record?.follows
  }
  return found
}
