/** The blocks of a piece of JavaScript: which function, class or object a position lies in. A scanner, not a parser. */

/** A bracketed or arrow-bodied stretch of code; offsets are those of the text. */
export interface CodeBlock {
  kind: 'root' | 'class' | 'function' | 'object' | 'block'
  /** Name of a function or class, '' when it has none. */
  name: string
  /** Text of the parameters of a function, without the parentheses. */
  params: string
  /** Where the header begins (`async lock(` ...), for others the bracket. */
  from: number
  /** The opening brace, or the first character of an arrow's expression. */
  start: number
  /** One behind the last character. */
  end: number
  parent: CodeBlock | null
  children: CodeBlock[]
}

/** Longer texts are generated bundles and are not looked at. */
const MOST_CHARACTERS = 2_000_000
/** How far back a header may reach. */
const LOOK_BACK = 400

const WORD = /[\w$#]/
/** Before a slash: words after which an expression begins, so that the slash begins a regular expression. */
const BEFORE_REGEX =
  /(?:^|[^\w$.])(?:return|typeof|case|in|of|do|else|void|delete|throw|new|await|yield|instanceof)\s*$/
const CONTROL = new Set(['if', 'for', 'while', 'switch', 'catch', 'with'])

interface Open {
  bracket: string
  /** Position of the bracket; for an arrow without braces that of its expression. */
  at: number
  block: CodeBlock | null
}

/**
 * The blocks of a text as a tree; the root stands for the whole text.
 *
 * @param text JavaScript without types; anything else gives a tree too, only a less telling one
 */
export function outline(text: string): CodeBlock {
  const root = newBlock('root', 0, 0, null)
  root.end = text.length
  if (text.length > MOST_CHARACTERS) return root
  const open: Open[] = []
  /** The text with strings, comments and regular expressions blanked: what the headers are read from. */
  const plain = blank(text)
  const matching = new Map<number, number>()
  const parens: number[] = []
  let here = root

  const closeArrows = (at: number): void => {
    for (let top = open.at(-1); top?.bracket === '=>'; top = open.at(-1)) {
      open.pop()
      here = leave(here, at)
    }
  }
  const enter = (block: CodeBlock): CodeBlock => {
    here.children.push(block)
    here = block
    return block
  }

  for (let at = 0; at < plain.length; at++) {
    const char = plain[at]!
    if (char === '(' || char === '[') {
      if (char === '(') parens.push(at)
      open.push({ bracket: char, at, block: null })
    } else if (char === '{') {
      open.push({ bracket: char, at, block: enter(readHeader(plain, at, matching, here)) })
    } else if (char === ')' || char === ']' || char === '}') {
      closeArrows(at)
      const top = open.pop()
      if (top?.block) here = leave(here, at + 1)
      if (char === ')') {
        const from = parens.pop()
        if (from !== undefined) matching.set(at, from)
      }
    } else if (char === ';' || char === ',') {
      closeArrows(at)
    } else if (char === '=' && plain[at + 1] === '>') {
      let body = at + 2
      while (body < plain.length && /\s/.test(plain[body]!)) body++
      if (plain[body] !== '{') {
        const header = readArrow(plain, at, matching)
        const block = enter({ ...newBlock('function', header.from, body, here), ...header })
        open.push({ bracket: '=>', at: body, block })
        at = body - 1
      } else at++
    }
  }
  while (here.parent !== null) here = leave(here, text.length)
  return root
}

/** The innermost function that contains an offset; null in the module's own code. */
export function functionAt(root: CodeBlock, offset: number): CodeBlock | null {
  let found: CodeBlock | null = null
  let here: CodeBlock | undefined = root
  while (here !== undefined) {
    if (here.kind === 'function') found = here
    here = here.children.find((child) => child.from <= offset && offset < child.end)
  }
  return found
}

/** All blocks below (and with) this one, outermost first. */
export function* blocksOf(root: CodeBlock): Generator<CodeBlock> {
  const queue = [root]
  for (const block of queue) {
    yield block
    queue.push(...block.children)
  }
}

/** Is one block the other, or inside it? */
export function isWithin(inner: CodeBlock, outer: CodeBlock): boolean {
  for (let block: CodeBlock | null = inner; block !== null; block = block.parent) if (block === outer) return true
  return false
}

function newBlock(kind: CodeBlock['kind'], from: number, start: number, parent: CodeBlock | null): CodeBlock {
  return { kind, name: '', params: '', from, start, end: start, parent, children: [] }
}

function leave(block: CodeBlock, at: number): CodeBlock {
  block.end = at
  return block.parent ?? block
}

/** What the brace at `at` opens, from the text before it. */
function readHeader(plain: string, at: number, matching: Map<number, number>, parent: CodeBlock): CodeBlock {
  let last = at - 1
  while (last >= 0 && /\s/.test(plain[last]!)) last--
  if (plain[last] === '>' && plain[last - 1] === '=') {
    return { ...newBlock('function', 0, at, parent), ...readArrow(plain, last - 1, matching) }
  }
  const before = plain.slice(Math.max(0, last + 1 - LOOK_BACK), last + 1)
  const named = /\bclass(?:\s+(?!extends\b)([\w$]+))?(?:\s+extends\s+[^{};]+)?$/.exec(before)
  if (named) return { ...newBlock('class', last + 1 - named[0].length, at, parent), name: named[1] ?? '' }
  if (plain[last] === ')') {
    const from = matching.get(last)
    if (from !== undefined) {
      const head = plain.slice(Math.max(0, from - LOOK_BACK), from)
      const word = /([\w$#]+|\])\s*$/.exec(head)
      // `with` and `catch` are names of methods, too.
      const method = parent.kind === 'class' || parent.kind === 'object'
      if (word && CONTROL.has(word[1]!) && !method) return newBlock('block', at, at, parent)
      const header =
        /(?:async\s+)?function\s*\*?\s*([\w$]*)\s*$/.exec(head) ??
        /(?:(?:static|async|get|set)\s+|\*\s*)*([\w$#]+)\s*$/.exec(head)
      if (header) {
        // `const lock = async function () {`
        const name = header[1] !== '' ? header[1]! : assigned(plain.slice(0, from - header[0].length))
        const params = plain.slice(from + 1, last)
        return { ...newBlock('function', from - header[0].length, at, parent), name, params }
      }
      if (word) return { ...newBlock('function', from, at, parent), params: plain.slice(from + 1, last) }
    }
    return newBlock('block', at, at, parent)
  }
  if (/(?:[=(,:[?&|+]|\b(?:return|default|await|yield|new|in|of))$/.test(before) && !/\bcase\b[^;{}]*:$/.test(before)) {
    return newBlock('object', at, at, parent)
  }
  return newBlock('block', at, at, parent)
}

/** Header of the arrow function whose `=>` stands at `arrow`. */
function readArrow(plain: string, arrow: number, matching: Map<number, number>) {
  let last = arrow - 1
  while (last >= 0 && /\s/.test(plain[last]!)) last--
  let from = last
  let params = ''
  const paren = plain[last] === ')' ? matching.get(last) : undefined
  if (paren !== undefined) {
    from = paren
    params = plain.slice(paren + 1, last)
  } else {
    while (from > 0 && WORD.test(plain[from - 1]!)) from--
    params = plain.slice(from, last + 1)
  }
  const async = /\basync\s*$/.exec(plain.slice(Math.max(0, from - 20), from))
  if (async) from -= async[0].length
  return { from, params, name: assigned(plain.slice(0, from)) }
}

/** The name that a function expression gets from what it is assigned to; '' when there is none. */
function assigned(before: string): string {
  return /(?:^|[^\w$.#])([\w$#]+)\s*(?:=|:)\s*$/.exec(before.slice(-LOOK_BACK))?.[1] ?? ''
}

/** Strings, comments and regular expressions as spaces, so that only brackets of the code are left; code in templates stays. */
export function blank(text: string): string {
  const out: string[] = []
  let kept = 0
  let at = 0
  const hide = (from: number, to: number): void => {
    out.push(text.slice(kept, from), text.slice(from, to).replace(/[^\n]/g, ' '))
    kept = to
    at = to
  }
  /** Depth of braces at which a template goes on. */
  const templates: number[] = []
  let depth = 0
  while (at < text.length) {
    const char = text[at]!
    if (char === '"' || char === "'") hide(at, endOfString(text, at, char))
    else if (char === '/' && text[at + 1] === '/') hide(at, endOf(text, '\n', at))
    else if (char === '/' && text[at + 1] === '*') hide(at, Math.min(text.length, endOf(text, '*/', at + 2) + 2))
    else if (char === '/' && beginsRegex(text, at)) hide(at, endOfRegex(text, at))
    else if (char === '`' || (char === '}' && templates.at(-1) === depth)) {
      if (char === '}') templates.pop()
      const end = endOfTemplate(text, at + 1)
      // The braces of `${` and `}` are hidden with the text around them.
      hide(at, end.at)
      if (end.code) templates.push(depth)
    } else {
      if (char === '{') depth++
      else if (char === '}') depth--
      at++
    }
  }
  out.push(text.slice(kept))
  return out.join('')
}

function endOf(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from)
  return at < 0 ? text.length : at
}

function endOfString(text: string, from: number, quote: string): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === quote || text[at] === '\n') return at + 1
  }
  return text.length
}

function endOfTemplate(text: string, from: number): { at: number; code: boolean } {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === '`') return { at: at + 1, code: false }
    else if (text[at] === '$' && text[at + 1] === '{') return { at: at + 2, code: true }
  }
  return { at: text.length, code: false }
}

function beginsRegex(text: string, at: number): boolean {
  const before = text.slice(Math.max(0, at - 30), at)
  return /(?:^|[=(,:[!&|?{};+\-*%~^<>])\s*$/.test(before) || BEFORE_REGEX.test(before)
}

function endOfRegex(text: string, from: number): number {
  let set = false
  for (let at = from + 1; at < text.length; at++) {
    const char = text[at]
    if (char === '\\') at++
    else if (char === '\n') return from + 1
    else if (char === '[') set = true
    else if (char === ']') set = false
    else if (char === '/' && !set) return at + 1
  }
  return from + 1
}
