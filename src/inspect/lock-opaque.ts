/**
 * Locks whose code is not the user's: a package's mutex, pool or limiter, a promisified function, locks of the platform.
 * Their code is not read. What the user's code does with them tells: a call made a promise that does not settle, earlier
 * calls of the same method got through, and what they got was not given back, or the call is made from within a function
 * that an earlier call, still pending, was given.
 */
import type { CountedScript } from './call-counts.ts'
import type { CodeBlock } from './code-outline.ts'
import type { RawFrame } from './facts.ts'
import { type Acquisition, type History, readUse } from './lock-history.ts'
import { type CountedCode, LockLayers } from './lock-layers.ts'
import { escaped } from './lock-shape.ts'
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
  /** A function is written among its arguments. */
  runs: boolean
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

/** The call that made the promise, or one of those that it waits for; undefined when the user's own code made it. */
export function opaqueCallOf(records: PromiseRecords, id: number, code: CountedCode): OpaqueCall | undefined {
  const open = [id]
  for (const at of open) {
    const record = records.promises.get(at)
    const [frame] = record?.created ?? []
    // An async function of the user's: the innermost frame is the function itself.
    const own = record?.entry !== undefined && frame?.at != null && record.entry.at === placeOf(frame)
    const call = own ? undefined : callAt(frame, code)
    if (call !== undefined) return call
    const next = [record?.follows, ...(record?.parts?.ids ?? []), record?.standsAt?.target]
    for (const one of next) {
      if (one !== undefined && records.promises.has(one) && !open.includes(one) && open.length < MOST_HOPS)
        open.push(one)
    }
  }
  return undefined
}

function placeOf({ at }: RawFrame): string {
  return at === null ? '' : `${at.url}:${at.line}:${at.column}`
}

/** The call at a position of the user's code; undefined when there is none that could be one for a lock. */
function callAt(frame: RawFrame | undefined, code: CountedCode): OpaqueCall | undefined {
  const found = code.at(frame)
  if (found === undefined || frame === undefined || found.offset < 0) return undefined
  const { script, offset } = found
  const { plain } = script.text
  const called = /^(#?[\w$]+)\s*(?:\?\.)?\(/.exec(plain.slice(offset, offset + 120))
  if (called === null || NO_LOCK.test(called[1]!)) return undefined
  const end = closing(plain, offset + called[0].length - 1)
  const receiver = /([\w$#]+)(?:\([^()]*\)|\[[^\]]*\])?[?!]?\.\s*$/.exec(plain.slice(Math.max(0, offset - 120), offset))
  const given = plain.slice(offset + called[0].length, end)
  return {
    frame,
    script,
    offset,
    end,
    method: called[1]!,
    receiver: receiver?.[1] ?? '',
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
}

/** @param chains all innermost `await`s: those that wait at the same place have not got through */
export function opaqueHistory(
  records: PromiseRecords,
  call: OpaqueCall,
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
  call: OpaqueCall,
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
  const around = pendingAround(records, same, chain, code)
  const list = [...sites.values()].filter(({ granted }) => granted > 0)
  const elsewhere = given(call, layers, code) - list.reduce((sum, one) => sum + one.granted - one.missing, 0)
  const missing = list.reduce((sum, one) => sum + one.missing, 0)
  return {
    sites: list,
    free: missing <= Math.max(0, elsewhere),
    around,
    receiverAt: (frame) => readUse(frame, layers, code, layers.giving).receiver,
  }
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
): RawFrame[] {
  const flow = chain.flatMap(({ awaited, owner }, place) => [
    ...(place === 0 ? [] : awaited.slice(0, 1)),
    ...(owner?.created ?? []),
  ])
  // The await itself may stand in the function, too: it is not within its own call.
  const here = [chain[0]!.awaited[0], ...flow].flatMap((frame) => code.at(frame) ?? [])
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
