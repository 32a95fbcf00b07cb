/** What only the text of the user's files tells. */

import type { AwaitFrame, Frame } from '../src/dump/facts.ts'
import { ScriptText } from '../src/inspect/script-text.ts'

/** Reads a file by the path of a site; null when it cannot be read. */
export type ReadText = (path: string) => string | null

/** Texts of source files, outlined at the first use. */
export class SourceFacts {
  readonly #read: ReadText
  readonly #texts = new Map<string, ScriptText | null>()

  constructor(read: ReadText) {
    this.#read = read
  }

  /**
   * Connects what native code stands between: a function that is written among the arguments of the very call that
   * another one awaits, and that is suspended itself, is what the call waits for. Without this, the callback of
   * `navigator.locks.request` and its like would belong to nobody.
   */
  linkCallbacks(awaits: readonly AwaitFrame[]): AwaitFrame[] {
    const below = new Set(awaits.flatMap(({ awaitedBy }) => awaitedBy))
    const nobodys = awaits.filter((one) => one.user && one.owner === null && one.awaitedBy.length === 0)
    if (nobodys.length === 0) return [...awaits]
    const owners = new Map<number, { owner: string; by?: number }>()
    for (const waiter of awaits) {
      if (!waiter.user || !waiter.exact || waiter.owner === null || hasUserBelow(waiter, awaits, below)) continue
      const call = this.#callAt(waiter)
      if (call === undefined) continue
      // The newest of them: others may be left from earlier calls of the same line.
      const callback = nobodys.findLast((one) => {
        if (owners.has(one.id) || one.definedAt?.path !== waiter.site.path) return false
        const from = call.text.offset({ line: one.definedAt.line, column: one.definedAt.column ?? 1 })
        return from > call.from && from < call.to
      })
      if (callback) owners.set(callback.id, { owner: waiter.owner, by: waiter.id })
    }
    if (owners.size === 0) return [...awaits]
    // What the callback waits for belongs to the same owner.
    for (let grown = true; grown; ) {
      grown = false
      for (const { id, awaitedBy } of awaits) {
        const above = awaitedBy.find((one) => owners.has(one))
        if (above === undefined || owners.has(id)) continue
        owners.set(id, { owner: owners.get(above)!.owner })
        grown = true
      }
    }
    return awaits.map((one) => {
      const found = owners.get(one.id)
      if (found === undefined) return one
      const awaitedBy = found.by === undefined ? one.awaitedBy : [...one.awaitedBy, found.by]
      return { ...one, owner: one.owner ?? found.owner, awaitedBy }
    })
  }

  /** Where a clock that is not Node's is put in the place of the timers, in these files. */
  clockCalls(paths: Iterable<string>): Frame[] {
    const found: Frame[] = []
    for (const path of new Set(paths)) {
      const text = this.#text(path)
      for (const [at, line] of (text?.text.split('\n') ?? []).entries()) {
        if (!CLOCK.test(line) || BACK.test(line) || /^\s*(?:\/\/|\*|import\b)/.test(line)) continue
        const column = line.search(/\S/) + 1
        found.push({ fn: '<anonymous>', site: { path, line: at + 1, column }, source: line.trim(), user: true })
      }
    }
    return found
  }

  /**
   * In a function that is found running again and again: the line that asks for its next turn; undefined when the frame
   * stands on such a line, or there is none.
   */
  nextTurn(frame: Frame): Frame | undefined {
    if (frame.source !== undefined && TURN.test(frame.source)) return undefined
    const text = this.#text(frame.site.path)
    if (text === undefined) return undefined
    const offset = text.offset({ line: frame.site.line, column: frame.site.column ?? 1 })
    let from = -1
    // Outwards from block to block: headers of functions with types are not read here.
    for (let level = 0, block = blockAround(text.plain, offset); block && level < MOST_LEVELS; level++) {
      const match = TURN.exec(text.plain.slice(block.from, block.to))
      if (match !== null) from = block.from + match.index
      if (from >= 0) break
      block = blockAround(text.plain, block.from - 1)
    }
    if (from < 0) return undefined
    const line = text.text.slice(0, from).split('\n').length
    const source = text.text.split('\n')[line - 1] ?? ''
    return { fn: frame.fn, site: { path: frame.site.path, line }, source: source.trim(), user: true }
  }

  /** From the `await` to the end of the call that it stands on. */
  #callAt({ site }: AwaitFrame): { text: ScriptText; from: number; to: number } | undefined {
    const text = this.#text(site.path)
    const from = text?.offset({ line: site.line, column: site.column ?? 1 }) ?? -1
    if (text === undefined || from < 0) return undefined
    let depth = 0
    for (let at = from; at < text.plain.length; at++) {
      const char = text.plain[at]!
      if (char === '(' || char === '[' || char === '{') depth++
      else if (char === ')' || char === ']' || char === '}') {
        if (--depth <= 0) return { text, from, to: at + 1 }
      } else if (char === ';' && depth === 0) return undefined
    }
    return undefined
  }

  #text(path: string): ScriptText | undefined {
    let known = this.#texts.get(path)
    if (known === undefined) {
      const text = this.#read(path)
      known = text === null ? null : new ScriptText(path, text)
      this.#texts.set(path, known)
    }
    return known ?? undefined
  }
}

/** Calls and assignments that replace the timers. */
const CLOCK =
  /\b(?:useFakeTimers|timers\.enable|FakeTimers\.\w+|[Cc]lock\.install|installClock|setTimeoutMock)\s*\(|\b(?:globalThis|global|window|self)\.set(?:Timeout|Interval|Immediate)\s*=(?!=)|\bstubGlobal\(\s*['"`]set(?:Timeout|Interval|Immediate)|\b(?:spyOn|method)\(\s*(?:globalThis|global)\s*,\s*['"`]set(?:Timeout|Interval|Immediate)|\bassign\(\s*(?:globalThis|global)\s*,\s*\{[^}]*\bset(?:Timeout|Interval|Immediate)/
/** Puts the real ones back. */
const BACK = /=\s*(?:[\w$]*\.)*_?(?:real|orig|native|saved|old|prev|before|true)[\w$]*(?:\.[\w$]+)?\s*;?\s*$/i
const TURN = /\b(?:process\.nextTick|nextTick|queueMicrotask)\s*\(|\bawait\b|\.then\s*\(/

const MOST_LEVELS = 4

/** The nearest braces around an offset. */
function blockAround(plain: string, offset: number): { from: number; to: number } | undefined {
  let depth = 0
  let from = -1
  for (let at = offset - 1; at >= 0; at--) {
    if (plain[at] === '}') depth++
    else if (plain[at] === '{' && depth-- === 0) {
      from = at
      break
    }
  }
  if (from < 0) return undefined
  depth = 0
  for (let at = from; at < plain.length; at++) {
    if (plain[at] === '{') depth++
    else if (plain[at] === '}' && --depth === 0) return { from, to: at + 1 }
  }
  return undefined
}

function hasUserBelow(frame: AwaitFrame, awaits: readonly AwaitFrame[], awaited: ReadonlySet<number>): boolean {
  if (!awaited.has(frame.id)) return false
  const reached = new Set([frame.id])
  const open = [frame.id]
  for (const id of open) {
    for (const one of awaits) {
      if (reached.has(one.id) || !one.awaitedBy.includes(id)) continue
      if (one.user) return true
      reached.add(one.id)
      open.push(one.id)
    }
  }
  return false
}
