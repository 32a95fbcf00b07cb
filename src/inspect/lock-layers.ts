/** A lock seen from the code that uses it: its own functions, and those around it that only pass its service on. */
import type { CountedScript } from './call-counts.ts'
import { type CodeBlock, isWithin } from './code-outline.ts'
import { escaped } from './code-words.ts'
import type { RawFrame } from './facts.ts'
import { callsBack, callsTo, type Primitive } from './lock-shape.ts'
import { type ScriptText, scriptKey } from './script-text.ts'

/** Finds blocks and counts of the user's scripts. */
export class CountedCode {
  readonly #scripts: Map<string, CountedScript>

  constructor(scripts: Map<string, CountedScript>) {
    this.#scripts = scripts
  }

  scripts(): Iterable<CountedScript> {
    return this.#scripts.values()
  }

  at(frame: RawFrame | undefined): { script: CountedScript; block: CodeBlock | null; offset: number } | undefined {
    if (!frame?.at) return undefined
    const script = this.#scripts.get(scriptKey(frame.at.url))
    if (script === undefined) return undefined
    return { script, block: script.text.functionAt(frame.at), offset: script.text.offset(frame.at) }
  }

  sameFunction(a: RawFrame | undefined, b: RawFrame | undefined): boolean {
    const one = this.at(a)
    const other = this.at(b)
    return one !== undefined && other !== undefined && one.script === other.script && one.block === other.block
  }
}

/** The lock together with the functions around it that only pass its service on. */
export class LockLayers {
  readonly primitive: Primitive
  /** Names under which it is taken. */
  readonly taking: Set<string>
  /** Names under which it is given back. */
  readonly giving: Set<string>
  readonly #code: CountedCode
  readonly #wrappers = new Set<CodeBlock>()
  readonly #plain = new Set<CodeBlock>()

  constructor(primitive: Primitive, code: CountedCode) {
    this.primitive = primitive
    this.#code = code
    const named = (blocks: CodeBlock[]): string[] => blocks.map(({ name }) => name).filter((name) => name !== '')
    this.taking = new Set(named(primitive.waiting))
    this.giving = new Set(named(primitive.releasing))
  }

  has(frame: RawFrame | undefined): boolean {
    const found = this.#code.at(frame)
    if (!found?.block) return false
    const { block, script } = found
    if (script.text === this.primitive.script && this.primitive.has(block)) return true
    if (this.#wrappers.has(block)) return true
    if (this.#plain.has(block)) return false
    const wraps = this.#wraps(script, block)
    if (wraps) {
      this.#wrappers.add(block)
      if (block.name !== '') this.taking.add(block.name)
    } else this.#plain.add(block)
    return wraps
  }

  /** Is it the function that makes its caller wait, or one that hands the lock to a function that it is given? */
  isWaiting(frame: RawFrame | undefined): boolean {
    const found = this.#code.at(frame)
    return (
      found?.block != null &&
      found.script.text === this.primitive.script &&
      this.primitive.waiting.includes(found.block)
    )
  }

  #wraps({ text }: CountedScript, block: CodeBlock): boolean {
    if (!callsTo(text, block, [...this.taking])) return false
    if (callsBack(text, block)) return true
    const isOfLock = text === this.primitive.script && this.primitive.near(block)
    if (isOfLock && passesOn(text, block, [...this.taking])) return true
    // A method that takes the lock while another one of the same class gives it back.
    let home: CodeBlock | null = block.parent
    while (home !== null && home.kind !== 'class') home = home.parent
    const giving = [...this.giving]
    if (home === null || giving.length === 0 || callsTo(text, block, giving)) return false
    // Only where the lock is a part of the object; a class that uses somebody else's lock is using code.
    const owned = /this\.([\w$#]+)\s*\??\.\s*$/.exec(beforeCall(text, block, [...this.taking]))?.[1]
    if (
      owned === undefined ||
      !new RegExp(`${owned.replace(/[$]/g, '\\$&')}\\s*=\\s*(?:new\\b|[\\w$.]+\\()`).test(text.code(home))
    ) {
      return false
    }
    const others = home.children.filter((one) => one.kind === 'function' && !isWithin(block, one))
    const back = others.filter((one) => callsTo(text, one, giving))
    for (const { name } of back) this.giving.add(name)
    return back.length > 0
  }
}

/** Does a function nothing but give its caller what one of these gives? */
function passesOn(text: ScriptText, block: CodeBlock, names: readonly string[]): boolean {
  const body = text.plain.slice(block.start, block.end).trim()
  const calls = `(?:[\\w$#]+\\??\\.)*(?:${names.map(escaped).join('|')})\\s*\\([^;{}]*\\)`
  return new RegExp(`^\\{\\s*return\\s+(?:await\\s+)?${calls}\\s*;?\\s*\\}$|^(?:await\\s+)?${calls}$`).test(body)
}

/** The code of a function up to the first call of one of these. */
function beforeCall(text: ScriptText, block: CodeBlock, names: readonly string[]): string {
  const code = text.plain.slice(block.start, block.end)
  const call = new RegExp(`(?<![\\w$])(?:${names.map(escaped).join('|')})\\s*\\(`).exec(code)
  return code.slice(0, call?.index ?? 0)
}
