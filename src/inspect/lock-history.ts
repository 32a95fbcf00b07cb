import { blocksOf } from './code-outline.ts'
import { escaped } from './code-words.ts'
import type { RawFrame } from './facts.ts'
import type { CountedCode, LockLayers } from './lock-layers.ts'
import { callsBack, callsTo } from './lock-shape.ts'
import type { CallSite, PromiseCalls } from './promise-calls.ts'

/** One line of the using code at which the lock was asked for. */
export interface Acquisition {
  site: RawFrame
  /** So many calls got through. */
  granted: number
  /** Of these, so many have not given it back, as far as the code around tells. */
  missing: number
  /** So many calls run a function under the lock now. */
  running: number
  /** Number of the promise that was settled last. */
  last: number
  /** `pool` in `pool.connect()`, '' when it cannot be told. */
  receiver: string
}

export interface History {
  sites: Acquisition[]
  /** Everything that was taken was given back: nobody holds it. */
  free: boolean
  receiverAt(frame: RawFrame): string
}

interface Found {
  site: RawFrame
  /** Settled births by place: one call may make several promises. */
  settled: Map<string, number>
  /** Calls of the outermost function of the lock. */
  outer: CallSite[]
  last: number
}

/** A wrapper of `release` is short. */
const SHORT = 400

/** What the history of promises and the counts of the code say of a lock's earlier calls. */
export function acquisitionsOf(
  calls: PromiseCalls,
  layers: LockLayers,
  code: CountedCode,
  waiting: ReadonlySet<number>,
): History {
  const found = new Map<string, Found>()
  for (const call of calls.sites.values()) {
    const depth = call.frames.findIndex((frame) => !layers.has(frame))
    const site = call.frames[depth]
    if (depth < 1 || site?.at == null) continue
    const inside = call.frames.slice(0, depth)
    const key = `${site.at.url}:${site.at.line}`
    const known = found.get(key) ?? { site, settled: new Map<string, number>(), outer: [], last: 0 }
    const outermost = code.at(inside.at(-1))
    const runs = outermost?.block != null && callsBack(outermost.script.text, outermost.block)
    const takes = inside.some((frame) => layers.isWaiting(frame))
    if (!takes && !runs) continue
    found.set(key, known)
    if (depth === 1 && runs && (call.entry || !isAsync(outermost))) {
      known.outer.push(call)
    }
    if (!takes || !counts(call, layers, code)) continue
    const at = inside[0]!.at!
    const place = `${at.line}:${at.column}`
    known.settled.set(place, (known.settled.get(place) ?? 0) + call.settled)
    known.last = Math.max(known.last, call.last)
  }
  const giving = givingNames(layers, code)
  const sites = [...found.values()].map((one): Acquisition => {
    const granted = Math.max(0, ...one.settled.values())
    const running = one.outer.reduce(
      (sum, { pending }) => sum + [...pending].filter((id) => !waiting.has(id)).length,
      0,
    )
    const use = readUse(one.site, layers, code, giving)
    const missing = one.outer.length > 0 ? running : granted - Math.min(granted, use.returned)
    return { site: one.site, granted, missing, running, last: one.last, receiver: use.receiver }
  })
  const granted = sites.reduce((sum, one) => sum + one.granted, 0)
  const returned = releasesOf(layers, code)
  const running = sites.some((one) => one.running > 0)
  const free = !running && (granted === 0 || (returned !== null && returned >= granted))
  if (!free && sites.every(({ missing }) => missing === 0)) {
    // Nobody is seen to hold it, and yet it is not free: the one that was served last has not made room.
    const newest = sites.filter((one) => one.granted > 0).sort((a, b) => b.last - a.last)[0]
    if (newest !== undefined) newest.missing = 1
  }
  return {
    sites,
    free,
    receiverAt: (frame) => readUse(frame, layers, code, giving).receiver,
  }
}

/** Of an async function only its own result counts, not what it makes inside. */
function counts(call: CallSite, layers: LockLayers, code: CountedCode): boolean {
  const found = code.at(call.frames[0])
  if (!layers.isWaiting(call.frames[0]) || !found?.block) return false
  return !isAsync(found) || call.entry
}

function isAsync({ script, block }: ReturnType<CountedCode['at']> & object): boolean {
  return block !== null && /^(?:static\s+)?async\b/.test(script.text.plain.slice(block.from, block.from + 20))
}

/** How often the functions that let the next one go have run; null when there are none. */
function releasesOf({ primitive }: LockLayers, code: CountedCode): number | null {
  if (primitive.releasing.length === 0) return null
  const script = [...code.scripts()].find(({ text }) => text === primitive.script)
  return primitive.releasing.reduce((sum, { start }) => sum + (script?.count(start + 1) ?? 0), 0)
}

/** Names of functions that give back, also those that do nothing else than to call such a function. */
function givingNames(layers: LockLayers, code: CountedCode): Set<string> {
  const names = new Set(layers.giving)
  for (let round = 0; round < 2; round++) {
    const known = [...names]
    for (const { text } of code.scripts()) {
      for (const block of blocksOf(text.root)) {
        if (block.kind !== 'function' || block.name === '' || block.end - block.from > SHORT) continue
        if (callsTo(text, block, known) && !callsTo(text, block, [...layers.taking])) names.add(block.name)
      }
    }
  }
  return names
}

/** What becomes of the lock after it was taken at this place: how often it was given back by the same function. */
export function readUse(
  site: RawFrame,
  layers: LockLayers,
  code: CountedCode,
  giving: ReadonlySet<string>,
): { receiver: string; returned: number } {
  const found = code.at(site)
  if (found === undefined || found.offset < 0) return { receiver: '', returned: 0 }
  const { script, block, offset } = found
  const { plain } = script.text
  const end = block?.end ?? plain.length
  const from = Math.max(plain.lastIndexOf('\n', offset - 1), plain.lastIndexOf(';', offset - 1), block?.start ?? 0) + 1
  const stop = plain.indexOf(';', offset)
  const statement = plain.slice(from, stop < 0 || stop > end ? end : stop)
  const taking = [...layers.taking].map(escaped).join('|')
  const receiver =
    new RegExp(`([\\w$#.\\]]+(?:\\([^()]*\\))?)\\??\\.(?:${taking || '(?!)'})\\s*\\(`).exec(statement)?.[1] ?? ''
  const bound = /(?:const|let|var)?\s*(?:\[([^\]]*)\]|\{([^}]*)\}|([\w$.#]+))\s*=(?![=>])/.exec(statement)
  const variables = (bound?.[1] ?? bound?.[2] ?? bound?.[3] ?? '').match(/[\w$.#]+/g) ?? ([] as string[])
  const own: number[] = []
  const everywhere: number[] = []
  const rest = plain.slice(offset, end)
  const names = [...giving, ...variables].map(escaped).join('|')
  if (names === '') return { receiver, returned: 0 }
  for (const match of rest.matchAll(
    new RegExp(`([\\w$#.\\]]*?)\\??\\.?(?<![\\w$])(${names})\\??\\.?\\(([^()]*)\\)`, 'g'),
  )) {
    const [, on = '', name = '', given = ''] = match
    const count = script.count(offset + match.index + match[0].length - given.length - 2)
    const mine =
      variables.includes(name) ||
      variables.some(
        (variable) =>
          on === variable || on.startsWith(`${variable}.`) || new RegExp(`\\b${escaped(variable)}\\b`).test(given),
      ) ||
      (variables.length === 0 && on === receiver)
    everywhere.push(count)
    if (mine) own.push(count)
  }
  const sum = (own.length > 0 ? own : everywhere).reduce((total, count) => total + count, 0)
  return { receiver, returned: sum }
}
