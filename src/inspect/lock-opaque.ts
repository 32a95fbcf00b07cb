/**
 * Locks whose code is not the user's: a package's mutex, pool or limiter, a promisified function, locks of the platform.
 * Their code is not read. What the user's code does with them tells: a call made a promise that does not settle, earlier
 * calls of the same method got through, and what they got was not given back, or the call is made from within a function
 * that an earlier call, still pending, was given.
 */
import type { CountedScript } from './call-counts.ts'
import { blocksOf, type CodeBlock } from './code-outline.ts'
import { escaped } from './code-words.ts'
import type { RawFrame } from './facts.ts'
import { type Acquisition, type History, readUse } from './lock-history.ts'
import { type CountedCode, LockLayers } from './lock-layers.ts'

import type { WaitChain } from './promise-graph.ts'
import type { PromiseRecords } from './promise-records.ts'

/** A call of the user's into code that is not the user's, which answered with a promise. */
export interface OpaqueCall {
  frame: RawFrame
  script: CountedScript
  /** Of the name of the method. */
  offset: number
  /** One behind the closing parenthesis. */
  end: number
  method: string
  /** Last name of what it is called on: `pool` in `this.pool.connect()`; '' for a plain call. */
  receiver: string
  /** What it is called on with its index or arguments: `seats[seat]`. */
  on: string
  /** A function is written among its arguments. */
  runs: boolean
}

/** The call that is waited for, and whether the user's `await` stands at it or at something that it was returned to. */
export interface OpaqueWait extends OpaqueCall {
  deep: boolean
}

/** What settles or combines promises, and calls that wait for events: no turn is taken there. */
const NO_LOCK =
  /^(?:Promise|then|catch|finally|all|any|race|allSettled|resolve|reject|withResolvers|try|next|return|throw|import|once|on|fetch|setTimeout|setImmediate|sleep|delay)$/
/** By convention: what one does with a lock, permit, connection or place that one is through with. */
const GIVES =
  /(?<![\w$])((?:release|unlock|free|leave|checkin|restore|relinquish|putBack|giveBack|returnTo)[\w$]*|give|put|destroy|dispose|drop|signal|post|up|vacate)(?![\w$])\s*(?:\?\.)?\(/g
/** By convention: how one takes them, where nothing shows that they are ever given back. */
const TAKES =
  /^(?:(?:try)?(?:acquire|lock|borrow|checkout|checkOut|obtain|lease|rent|reserve)[\w$]*|enter|take|getConnection|getClient|getResource)$/
const MOST_HOPS = 60

/**
 * The call that made the promise, or one of those that it waits for, the innermost; undefined when the user's own code made
 * it.
 */
export function opaqueCallOf(records: PromiseRecords, id: number, code: CountedCode): OpaqueWait | undefined {
  const open = [{ id, within: 0 }]
  const seen = new Set([id])
  let found: { call: OpaqueCall; within: number } | undefined
  for (const { id: at, within } of open) {
    const record = records.promises.get(at)
    const [frame] = record?.created ?? []
    // An async function of the user's: the innermost frame is the function itself.
    const own = record?.entry !== undefined && frame?.at != null && record.entry.at === placeOf(frame)
    const call = own ? undefined : (callAt(frame, code) ?? callInExecutor(records, frame, code))
    // Promises that a package makes inside a call have its place, too.
    if (call !== undefined && (found === undefined || (within > found.within && isElsewhere(call, found.call))))
      found = { call, within }
    // What a function waits for that the call runs stands further in; the parts of a package do not.
    if (call !== undefined && !call.runs) continue
    const next = [record?.follows, ...(record?.parts?.ids ?? []), record?.standsAt?.target]
    for (const one of next) {
      if (one === undefined || !records.promises.has(one) || seen.has(one) || seen.size >= MOST_HOPS) continue
      seen.add(one)
      open.push({ id: one, within: within + (call === undefined ? 0 : 1) })
    }
  }
  if (found === undefined) return undefined
  const inner = found.within === 0 && found.call.runs ? pendingWithin(records, found.call, code) : undefined
  return { ...(inner ?? found.call), deep: inner !== undefined || found.within > 0 }
}

/**
 * A pending call for the same lock in the function that a call was given. A package whose functions are not async ones leaves
 * nothing that leads there.
 */
function pendingWithin(records: PromiseRecords, call: OpaqueCall, code: CountedCode): OpaqueCall | undefined {
  for (const { created } of records.promises.values()) {
    const inner = callAt(created[0], code)
    if (inner?.method !== call.method || inner.receiver !== call.receiver || inner.script !== call.script) continue
    if (inner.offset > call.offset && inner.offset < call.end) return inner
  }
  return undefined
}

/** `new Promise((entered) => void limit(() => entered()))`: the call that the executor made and that is still pending. */
function callInExecutor(
  records: PromiseRecords,
  frame: RawFrame | undefined,
  code: CountedCode,
): OpaqueCall | undefined {
  const found = code.at(frame)
  if (
    found === undefined ||
    !/^(?:new\s+)?Promise\b/.test(found.script.text.plain.slice(found.offset, found.offset + 20))
  )
    return undefined
  const place = placeOf(frame!)
  for (const { created } of records.promises.values()) {
    if (!created.slice(1, 4).some((one) => placeOf(one) === place)) continue
    const call = callAt(created[0], code)
    if (call?.runs) return call
  }
  return undefined
}

function isElsewhere(one: OpaqueCall, other: OpaqueCall): boolean {
  return placeOf(one.frame) !== placeOf(other.frame)
}

function placeOf({ at }: RawFrame): string {
  return at === null ? '' : `${at.url}:${at.line}:${at.column}`
}

/** The call at a position of the user's code; undefined when there is none that could be one for a lock. */
export function callAt(frame: RawFrame | undefined, code: CountedCode): OpaqueCall | undefined {
  const found = code.at(frame)
  if (found === undefined || frame === undefined || found.offset < 0) return undefined
  const { script, offset } = found
  const { plain } = script.text
  const called = /^(#?[\w$]+)\s*(?:\?\.)?\(/.exec(plain.slice(offset, offset + 120))
  if (called === null || NO_LOCK.test(called[1]!)) return undefined
  const end = closing(plain, offset + called[0].length - 1)
  const receiver = /([\w$#]+)((?:\([^()]*\)|\[[^\]]*\])?)[?!]?\.\s*$/.exec(
    plain.slice(Math.max(0, offset - 120), offset),
  )
  const given = plain.slice(offset + called[0].length, end)
  return {
    frame,
    script,
    offset,
    end,
    method: called[1]!,
    receiver: receiver?.[1] ?? '',
    on: (receiver?.[1] ?? '') + (receiver?.[2] ?? ''),
    runs: /=>|(?<![\w$])function(?![\w$])/.test(given),
  }
}

/** One behind the bracket that closes the one at `open`. */
function closing(plain: string, open: number): number {
  let depth = 0
  for (let at = open; at < plain.length; at++) {
    const char = plain[at]!
    if (char === '(' || char === '[' || char === '{') depth++
    else if ((char === ')' || char === ']' || char === '}') && --depth === 0) return at + 1
  }
  return plain.length
}

/** The lock behind a call, as far as the code that uses it tells; functions that only pass it on count as parts of it. */
export function opaqueLayers(call: OpaqueCall, code: CountedCode): LockLayers {
  const layers = new LockLayers(
    {
      script: call.script.text,
      owner: call.receiver,
      style: 'queue',
      waiting: [],
      releasing: [],
      has: () => false,
      near: () => false,
    },
    code,
  )
  layers.taking.add(call.method)
  for (const { text } of code.scripts()) for (const [, name] of text.plain.matchAll(GIVES)) layers.giving.add(name!)
  return layers
}

/** Earlier calls of the same method that are known to have got what the last one waits for. */
export interface OpaqueHistory extends History {
  /** Calls that are pending because a function that they were given stands further out in the same flow. */
  around: RawFrame[]
  /** Was something else taken there than what is wanted, and do several wait like this one? Then they hold each other up. */
  crossed(taken: RawFrame): boolean
}

/** @param chains all innermost `await`s: those that wait at the same place have not got through */
export function opaqueHistory(
  records: PromiseRecords,
  call: OpaqueWait,
  chain: WaitChain,
  layers: LockLayers,
  code: CountedCode,
  chains: readonly WaitChain[],
): OpaqueHistory {
  const named = historyOf(records, call, chain, layers, code, chains)
  if (call.receiver === '' || named.around.length > 0 || named.sites.some(({ missing }) => missing > 0)) return named
  // One lock may have several names, such as those of parameters.
  return historyOf(records, { ...call, receiver: '' }, chain, layers, code, chains)
}

function historyOf(
  records: PromiseRecords,
  call: OpaqueWait,
  chain: WaitChain,
  layers: LockLayers,
  code: CountedCode,
  chains: readonly WaitChain[],
): OpaqueHistory {
  const same = (other: OpaqueCall | undefined): other is OpaqueCall =>
    other !== undefined && other.method === call.method && (call.receiver === '' || other.receiver === call.receiver)
  const waiting = new Map<string, number>()
  for (const one of chains) {
    const queued = opaqueCallOf(records, one[0]!.target, code)
    if (same(queued)) waiting.set(placeOf(queued.frame), (waiting.get(placeOf(queued.frame)) ?? 0) + 1)
  }
  const sites = new Map<string, Acquisition>()
  for (const { frames, last } of records.calls.sites.values()) {
    const found = callAt(frames[0], code)
    if (!same(found) || found.runs) continue
    const site = frames.find((frame) => !layers.has(frame))
    if (site?.at == null) continue
    const place = placeOf(site)
    const known = sites.get(place)
    if (known !== undefined) {
      known.last = Math.max(known.last, last)
      continue
    }
    const at = code.at(site)
    const calls = at === undefined ? 0 : at.script.count(at.offset)
    const granted = Math.max(0, calls - (waiting.get(placeOf(found.frame)) ?? 0))
    const { receiver, returned } = readUse(site, layers, code, layers.giving)
    // Nothing is ever given back there: only where the name says that something is taken.
    const takes = returned > 0 || TAKES.test(call.method) || givesBack(at?.script, at?.block ?? null, layers.giving)
    const missing = takes ? granted - Math.min(granted, returned) : 0
    sites.set(place, { site, granted, missing, running: 0, last, receiver })
  }
  const around = pendingAround(records, same, chain, code, call)
  if (around.length === 0)
    for (const one of unfinished(records, same, layers, code, call)) sites.set(placeOf(one.site), one)
  const pending = [...records.calls.sites.values()]
    .filter(({ frames }) => frames[0] !== undefined && placeOf(frames[0]) === placeOf(call.frame))
    .reduce((sum, one) => sum + one.pending.size, 0)
  const list = [...sites.values()].filter(({ granted }) => granted > 0)
  const elsewhere = given(call, layers, code) - list.reduce((sum, one) => sum + one.granted - one.missing, 0)
  const missing = list.reduce((sum, one) => sum + one.missing, 0)
  return {
    sites: list,
    free: missing <= Math.max(0, elsewhere),
    around,
    crossed: (taken) => {
      const other = callAt(taken, code)
      return other !== undefined && other.on !== call.on && pending > 1
    },
    receiverAt: (frame) => readUse(frame, layers, code, layers.giving).receiver,
  }
}

/** Calls whose function was entered and has not come to its end, though nobody may wait for it any more. */
function unfinished(
  records: PromiseRecords,
  same: (call: OpaqueCall | undefined) => call is OpaqueCall,
  layers: LockLayers,
  code: CountedCode,
  wanted: OpaqueCall,
): Acquisition[] {
  const places = new Map<string, { call: OpaqueCall; site: RawFrame; born: number; pending: number; last: number }>()
  for (const { frames, born, pending, last } of records.calls.sites.values()) {
    const call = callAt(frames[0], code)
    const site = frames.find((frame) => !layers.has(frame))
    if (!same(call) || !call.runs || site?.at == null) continue
    const known = places.get(placeOf(call.frame)) ?? { call, site, born: 0, pending: 0, last: 0 }
    places.set(placeOf(call.frame), {
      ...known,
      born: known.born + born,
      pending: known.pending + pending.size,
      last: Math.max(known.last, last),
    })
  }
  // Where all that are open were entered nobody stands in a queue: what is waited for is the function.
  let queued = true
  const found = [...places.values()].flatMap(({ call, site, born, pending, last }) => {
    const { text } = call.script
    const inner = [...blocksOf(text.root)].find(
      (block) => block.kind === 'function' && block.from > call.offset && block.end <= call.end,
    )
    const calls = call.script.count(call.offset)
    if (inner === undefined || calls === 0 || born === 0) return []
    const started = call.script.count(inner.start + 1)
    // A call of a package may make several promises.
    const open = Math.ceil((pending * calls) / born)
    const missing = started - (calls - open)
    if (placeOf(call.frame) === placeOf(wanted.frame)) queued = missing < open
    return missing > 0 ? [{ site, granted: started, missing, running: 0, last, receiver: call.receiver }] : []
  })
  return queued ? found : []
}

/** Does the function around a place give something back at all, if only on another path? */
function givesBack(script: CountedScript | undefined, block: CodeBlock | null, giving: ReadonlySet<string>): boolean {
  if (script === undefined || block === null || giving.size === 0) return false
  const names = [...giving].map(escaped).join('|')
  return new RegExp(`(?<![\\w$])(?:${names})\\s*(?:\\?\\.)?\\(`).test(script.text.plain.slice(block.start, block.end))
}

/** How often something was given back on what the call is made on, in all of the user's code. */
function given(call: OpaqueCall, layers: LockLayers, code: CountedCode): number {
  if (call.receiver === '' || layers.giving.size === 0) return 0
  const names = [...layers.giving].map(escaped).join('|')
  const calls = new RegExp(`(?<![\\w$])${escaped(call.receiver)}\\s*\\??\\.\\s*(?:${names})\\s*(?:\\?\\.)?\\(`, 'g')
  let sum = 0
  for (const script of code.scripts()) {
    for (const match of script.text.plain.matchAll(calls)) sum += script.count(match.index + match[0].length - 1)
  }
  return sum
}

/** Calls for the same lock that are pending and whose function is where the flow stands; the nearest first. */
function pendingAround(
  records: PromiseRecords,
  same: (call: OpaqueCall | undefined) => call is OpaqueCall,
  chain: WaitChain,
  code: CountedCode,
  wanted: OpaqueWait,
): RawFrame[] {
  const flow = chain.flatMap(({ awaited, owner }, place) => [
    ...(place === 0 ? [] : awaited.slice(0, 1)),
    ...(owner?.created ?? []),
  ])
  // The await itself may stand in the function, too: it is not within its own call.
  const here = [...(wanted.deep ? [wanted.frame] : []), chain[0]!.awaited[0], ...flow].flatMap(
    (frame) => code.at(frame) ?? [],
  )
  const found = new Map<string, { frame: RawFrame; place: number }>()
  for (const { created } of records.promises.values()) {
    const [frame] = created
    if (frame === undefined || found.has(placeOf(frame))) continue
    const call = callAt(frame, code)
    if (!same(call) || !call.runs) continue
    const place = here.findIndex(
      ({ script, offset }) => script === call.script && offset > call.offset && offset < call.end,
    )
    if (place >= 0) found.set(placeOf(frame), { frame, place })
  }
  return [...found.values()].sort((a, b) => a.place - b.place).map(({ frame }) => frame)
}
