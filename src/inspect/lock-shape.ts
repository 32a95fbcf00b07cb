/**
 * Recognises by its code whether a function makes its callers queue up: it stores a resolve function where another
 * function finds it, or it waits for the promise of the caller before it and leaves its own for the next one.
 */
import { blocksOf, type CodeBlock, functionAt, isWithin } from './code-outline.ts'
import type { ScriptText } from './script-text.ts'

/** A lock, semaphore, pool or limiter, as far as its code tells. */
export interface Primitive {
  script: ScriptText
  /** Class or factory, '' for functions of a module. */
  owner: string
  /** `queue`: stored resolve functions; `chain`: each waits for the promise of the one before. */
  style: 'queue' | 'chain'
  /** Functions that make their callers wait. */
  waiting: CodeBlock[]
  /** Functions that let the next one go on. */
  releasing: CodeBlock[]
  /** Is this function a part of it? */
  has(block: CodeBlock | null): boolean
  /** Is it written in the class of the lock, or a part of it? */
  near(block: CodeBlock | null): boolean
}

interface Shape {
  style: 'queue' | 'chain'
  /** Last names of what the resolve functions or promises are stored in: `waiting` for `this.waiting`. */
  states: string[]
  /** Functions beside it that do the storing. */
  helpers: CodeBlock[]
}

const STORE = '(?:push|unshift|add|set|enqueue|append|offer|insert|addLast|put)'
const TAKE =
  '(?:shift|pop|splice|delete|values|entries|forEach|get|keys|at|dequeue|take|poll|next|remove|removeFirst|clear|slice)'
const SKIP = new Set(['constructor'])

/** The primitive that a function belongs to; undefined when the function makes nobody queue. */
export function primitiveOf(script: ScriptText, block: CodeBlock): Primitive | undefined {
  const shape = SKIP.has(block.name) ? undefined : shapeOf(script, block)
  if (shape === undefined) return undefined
  const home = homeOf(block)
  const functions = [...blocksOf(home ?? scopeOf(block))].filter(({ kind }) => kind === 'function')
  const mentions = shape.states.map((state) => word(state))
  // Functions of one closure belong together by what they share; around them may be the code that uses them.
  const scope = scopeOf(block)
  const members =
    home !== null
      ? [home]
      : functions.filter(
          (one) =>
            one !== scope &&
            functionAbove(one) === (scope.kind === 'root' ? functionAbove(one) : scope) &&
            (one === block || shape.helpers.includes(one) || mentions.some((re) => re.test(script.code(one)))),
        )
  const has = (one: CodeBlock | null): boolean => one !== null && members.some((member) => isWithin(one, member))
  const inside = functions.filter(has)
  const waiting = inside.filter((one) => !SKIP.has(one.name) && shapeOf(script, one) !== undefined)
  const takers = shape.style === 'chain' ? [] : takersOf(script, shape.states, has, home ?? scope)
  const releasing = takers.filter((one) => !waiting.includes(one))
  // A helper that the waiting functions call too lets nobody go by itself: those who call it for that do.
  const helpers = releasing.filter((one) => one.name !== '' && waiting.some((by) => callsTo(script, by, [one.name])))
  const direct = releasing.filter((one) => !helpers.includes(one))
  const names = helpers.map(({ name }) => name)
  const callers = inside.filter(
    (one) => !waiting.includes(one) && !helpers.includes(one) && !SKIP.has(one.name) && callsTo(script, one, names),
  )
  const all = [...waiting, ...releasing, ...callers, ...shape.helpers]
  return {
    script,
    owner: home?.name || (scope.kind === 'function' ? scope.name : ''),
    style: shape.style,
    waiting,
    releasing: [...new Set([...direct, ...callers])],
    near: has,
    // A class may use the lock that it is: methods that touch nothing of it are using code.
    has: (one) =>
      has(one) &&
      (home === null ||
        all.some((part) => isWithin(one!, part)) ||
        touches(script, methodAround(one!, home), mentions)),
  }
}

/** The method of a class that a function is, or is written in. */
function methodAround(block: CodeBlock, home: CodeBlock): CodeBlock {
  let method = block
  for (let one: CodeBlock | null = block; one !== null && one !== home; one = one.parent) {
    if (one.kind === 'function') method = one
  }
  return method
}

function touches(script: ScriptText, block: CodeBlock, mentions: readonly RegExp[]): boolean {
  return mentions.some((re) => re.test(script.code(block)))
}

/** Does the code of a function call one of these, as a function or as a method? */
export function callsTo(script: ScriptText, block: CodeBlock, names: readonly string[]): boolean {
  if (names.length === 0) return false
  return new RegExp(`(?:^|[^\\w$])(?:${names.map(escaped).join('|')})(?:\\?\\.)?\\s*\\(`).test(inner(script, block))
}

/**
 * Does a function call a function that it was given?
 *
 * @param only place of the parameter in question; all of them when it is not given
 */
export function callsBack(script: ScriptText, block: CodeBlock, only?: number, deep = 2): boolean {
  const names = block.params.split(',').map((param) => /^\s*(?:\.\.\.)?([\w$]+)/.exec(param)?.[1] ?? '')
  const code = inner(script, block)
  return names.some((name, place) => {
    if (name === '' || (only !== undefined && place !== only)) return false
    if (new RegExp(`${word(name).source}\\s*\\(|\\.then\\(\\s*${escaped(name)}(?![\\w$])`).test(code)) return true
    if (deep === 0) return false
    // Handed on to a function beside it that calls it.
    const passed = new RegExp(`([\\w$#]+)\\s*\\(((?:[^();]*,)?)\\s*${escaped(name)}\\s*[,)]`, 'g')
    return [...code.matchAll(passed)].some((match) => {
      const helper = siblingNamed(block, match[1]!)
      if (helper === undefined || helper === block) return false
      return callsBack(script, helper, match[2]!.split(',').length - 1, deep - 1)
    })
  })
}

function inner(script: ScriptText, block: CodeBlock): string {
  return script.plain.slice(block.start, block.end)
}

const shapes = new WeakMap<CodeBlock, Shape | null>()

function shapeOf(script: ScriptText, block: CodeBlock): Shape | undefined {
  let known = shapes.get(block)
  if (known === undefined) {
    known = readShape(script, block) ?? null
    shapes.set(block, known)
  }
  return known ?? undefined
}

function readShape(script: ScriptText, block: CodeBlock): Shape | undefined {
  // The innermost function counts, not the factory or the test around it.
  for (const below of blocksOf(block)) {
    if (below !== block && below.kind === 'function' && shapeOf(script, below) !== undefined) return undefined
  }
  const code = inner(script, block)
  // First: who waits for the one before may well keep a resolve function, too.
  const chain = chainStates(code)
  if (chain.length > 0) return { style: 'chain', states: chain, helpers: [] }
  const queue = queueStates(script, block, code)
  return queue.states.length > 0 ? { style: 'queue', ...queue } : undefined
}

/** What the resolve functions that are made in this code are stored in. */
function queueStates(script: ScriptText, block: CodeBlock, code: string): Pick<Shape, 'states' | 'helpers'> {
  const resolvers = resolversIn(code)
  if (resolvers.length === 0) return { states: [], helpers: [] }
  const stored = storesOf(code, resolvers, block.name !== '')
  if (stored.length > 0) return { states: stored, helpers: [] }
  // Given to a function beside this one, which stores it.
  const any = resolvers.map(escaped).join('|')
  for (const match of code.matchAll(new RegExp(`([\\w$#]+)\\s*\\([^;{}()]*\\b(?:${any})\\b`, 'g'))) {
    const helper = siblingNamed(block, match[1]!)
    if (helper === undefined || helper === block) continue
    const names = helper.params.match(/[\w$]+/g) ?? []
    const inHelper = names.length === 0 ? [] : storesOf(inner(script, helper), names, true)
    if (inHelper.length > 0) return { states: inHelper, helpers: [helper] }
  }
  return { states: [], helpers: [] }
}

function resolversIn(code: string): string[] {
  const found = new Set<string>()
  for (const match of code.matchAll(/new\s+Promise\s*\(\s*(?:async\s*)?(?:function\s*[\w$]*\s*)?\(?\s*([\w$]+)/g)) {
    if (match[1] !== 'function') found.add(match[1]!)
  }
  for (const match of code.matchAll(/\{([^{}]*)\}\s*=\s*[\w$.]*\bwithResolvers\b/g)) {
    const alias = /\bresolve\s*(?::\s*([\w$]+))?/.exec(match[1]!)
    if (alias) found.add(alias[1] ?? 'resolve')
  }
  for (const match of code.matchAll(
    /([\w$]+)\s*=\s*(?:[\w$.]*\bwithResolvers\b|[^;=]*\b[Dd]efer(?:red)?\s*(?:<[^>]*>)?\s*\()/g,
  )) {
    found.add(match[1]!)
  }
  for (const match of code.matchAll(/\b([\w$]+)\.promise\b/g)) if (match[1] !== 'this') found.add(match[1]!)
  // One step on: `const waiter = { resolve, since }`, `const go = () => resolve(client)`.
  const any = (): string => [...found].map(escaped).join('|')
  if (found.size > 0) {
    const carrier = new RegExp(
      `(?:const|let|var)\\s+([\\w$]+)\\s*=\\s*(?!new\\s+Promise|await\\b)[^;]*\\b(?:${any()})\\b`,
      'g',
    )
    for (const match of code.matchAll(carrier)) found.add(match[1]!)
    const functions = new RegExp(
      `(?:const|let|var)\\s+([\\w$]+)\\s*=\\s*(?:async\\s*)?\\(?[\\w$,\\s]*\\)?\\s*=>\\s*\\{[^{}]*\\b(?:${any()})\\b`,
      'g',
    )
    for (const match of code.matchAll(functions)) found.add(match[1]!)
  }
  return [...found]
}

/**
 * Collections, fields and outer variables in which one of these names is put.
 *
 * @param variables also plain variables; those of a function without a name are its caller's
 */
function storesOf(code: string, names: readonly string[], variables: boolean): string[] {
  const any = names.map(escaped).join('|')
  const states = new Set<string>()
  for (const match of code.matchAll(
    new RegExp(`([\\w$#]+)(?:\\([^()]*\\)|\\[[^\\]]*\\])?[?!]?\\.${STORE}\\s*\\([^;]*?(?<![.\\w$])(?:${any})\\b`, 'g'),
  )) {
    states.add(match[1]!)
  }
  const assign = new RegExp(
    `(^|[^\\w$.#])((?:this|[\\w$]+)(?:\\.[\\w$#]+|\\[[^\\]]*\\])*)\\s*=(?![=>])\\s*(?:\\{[^;{}]*\\b)?(?:${any})\\b(?!\\s*[.(])`,
    'g',
  )
  for (const match of code.matchAll(assign)) {
    const path = match[2]!
    const before = code.slice(0, (match.index ?? 0) + match[1]!.length)
    if (/\b(?:const|let|var)\s+$/.test(before)) continue
    if (!/[.[]/.test(path) && (!variables || isLocal(code, path))) continue
    states.add(lastName(path))
  }
  return [...states]
}

/** Fields, variables or maps whose promise this code waits for and into which it puts another one. */
function chainStates(code: string): string[] {
  const states = new Set<string>()
  const writes = new Set<string>()
  for (const match of code.matchAll(/(^|[^\w$.#])((?:this\.|[\w$]+\.)*[\w$#]+(?:\[[^\]]*\])?)\s*=(?![=>])/g)) {
    const before = code.slice(0, (match.index ?? 0) + match[1]!.length)
    const path = match[2]!
    if (/\b(?:const|let|var)\s+$/.test(before) || (!/[.[]/.test(path) && isLocal(code, path))) continue
    writes.add(path)
  }
  for (const match of code.matchAll(/((?:this\.|[\w$]+\.)*[\w$#]+)\.set\s*\(/g)) writes.add(`${match[1]!}.get(`)
  for (const path of writes) {
    const read = `${escaped(path)}${/[\w$]$/.test(path) ? '(?![\\w$])' : ''}`
    const direct = new RegExp(`\\bawait\\s+\\(?\\s*${read}|${read}[^;=]{0,80}?\\.(?:then|finally)\\s*\\(`)
    const kept = new RegExp(`(?:const|let|var)\\s+([\\w$]+)\\s*=\\s*(?:await\\s+)?\\(?\\s*${read}`, 'g')
    let waits = direct.test(code)
    for (const match of code.matchAll(kept)) {
      const local = escaped(match[1]!)
      waits ||= new RegExp(
        `\\bawait\\s+${local}\\b|\\b${local}\\??\\.(?:then|finally)\\s*\\(|\\b(?:all|allSettled|race)\\(\\[?[^;]*\\b${local}\\b`,
      ).test(code)
    }
    if (waits) states.add(lastName(path.replace(/\.get\($/, '')))
  }
  return [...states]
}

function isLocal(code: string, name: string): boolean {
  return new RegExp(`\\b(?:const|let|var)\\s+(?:[\\w$]+\\s*,\\s*)*${escaped(name)}\\b`).test(code)
}

/** Innermost functions in which something is taken from where the waiting ones are stored. */
function takersOf(
  script: ScriptText,
  states: readonly string[],
  has: (one: CodeBlock) => boolean,
  within: CodeBlock,
): CodeBlock[] {
  const any = states.map(escaped).join('|')
  const take = new RegExp(
    `(?<![\\w$])(?:${any})(?:\\([^()]*\\)|\\[[^\\]]*\\])?[?!]?\\.${TAKE}\\s*\\(|\\bof\\s+[^;{]*?(?<![\\w$])(?:${any})\\b|(?<![\\w$])(?:${any})\\[[^\\]]*\\]|=\\s*(?:this\\.)?(?:${any})\\s*[;,]|(?<![\\w$])(?:${any})\\??\\.?\\(|(?<![\\w$])(?:${any})\\??\\.resolve\\b`,
    'g',
  )
  const found = new Set<CodeBlock>()
  const code = script.plain.slice(within.from, within.end)
  for (const match of code.matchAll(take)) {
    let block = functionAt(script.root, within.from + match.index)
    // `for (const next of queue) next()` in a callback without a name is its function's doing.
    while (block !== null && block.name === '' && functionAbove(block) !== null && has(functionAbove(block)!)) {
      if (isReturned(script, block)) break
      block = functionAbove(block)
    }
    if (block !== null && has(block) && !SKIP.has(block.name)) found.add(block)
  }
  return [...found]
}

/** A function that is handed out: the caller decides when it runs. */
function isReturned(script: ScriptText, block: CodeBlock): boolean {
  return /(?:\breturn\s*\(?|[(:,]\s*)$/.test(script.plain.slice(Math.max(0, block.from - 30), block.from))
}

/** The class or the object literal that a function is a method of. */
function homeOf(block: CodeBlock): CodeBlock | null {
  for (let one = block.parent; one !== null; one = one.parent) {
    if (one.kind === 'class') return one
    if (one.kind === 'object' && one === block.parent && scopeOf(one).kind === 'root') return one
  }
  return null
}

/** The function around a block, or the module; vite wraps a module in a function with a block, which counts as one. */
function scopeOf(block: CodeBlock): CodeBlock {
  const above = functionAbove(block)
  if (above !== null) return above
  let root = block
  while (root.parent !== null) root = root.parent
  return root
}

function functionAbove(block: CodeBlock): CodeBlock | null {
  for (let one = block.parent; one !== null; one = one.parent) if (one.kind === 'function') return one
  return null
}

/** The function with this name nearest to a block. */
function siblingNamed(block: CodeBlock, name: string): CodeBlock | undefined {
  for (let one = block.parent; one !== null; one = one.parent) {
    for (const candidate of blocksOf(one))
      if (candidate.kind === 'function' && candidate.name === name) return candidate
  }
  return undefined
}

function lastName(path: string): string {
  return (
    path
      .match(/[\w$#]+/g)
      ?.filter((part) => part !== 'this')
      .at(-1) ?? path
  )
}

function word(name: string): RegExp {
  return new RegExp(`(?<![\\w$])${escaped(name)}(?![\\w$])`)
}

/** For use inside a regular expression. */
export function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}
